import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { FILES } from "../support/conformance-tree.ts";
import { patternBytes } from "../support/sparse-content.ts";
import { conformance } from "./table.ts";

const NO_INTERRUPT = "F1: libfuse 2 does not pass interrupts on";
const SLOW = "/files/slow";
const slowBytes = patternBytes(FILES.slow.seed, 0, FILES.slow.sizeBytes);

conformance("waiting", {}, ({ rowAlone }) => {
  rowAlone("a read that waits blocks nobody else", async (start) => {
    await using mount = await start();
    await mount.call("shut", SLOW);
    const slow = readFile(mount.at(SLOW));
    await mount.happened(`waiting ${SLOW}`);
    expect(readFileSync(mount.at("files/one")).length).toBe(1);
    expect(statSync(mount.at(SLOW)).size).toBe(slowBytes.length);
    await mount.call("open", SLOW);
    expect((await slow).equals(slowBytes)).toBe(true);
  });

  rowAlone("many reads wait at once", async (start) => {
    await using mount = await start();
    await mount.call("shut", "/files/middling");
    // Each its own process, so that Node's four file threads are no bound.
    const readers = Array.from({ length: 12 }, (_value, index) =>
      spawn(
        "dd",
        [
          `if=${mount.at("files/middling")}`,
          "of=/dev/null",
          "bs=4096",
          "count=1",
          `skip=${index * 200}`,
          "iflag=direct",
        ],
        {
          stdio: "ignore",
        },
      ),
    );
    const exits = readers.map((reader) => once(reader, "exit"));
    await mount.happened("waiting /files/middling", 12);
    expect(readFileSync(mount.at("files/one")).length).toBe(1);
    await mount.call("open", "/files/middling");
    expect((await Promise.all(exits)).map(([code]) => code as number)).toEqual(readers.map(() => 0));
  });

  rowAlone("an operation may take longer than 15 seconds", async (start) => {
    await using mount = await start();
    await mount.call("shut", SLOW);
    const slow = readFile(mount.at(SLOW));
    await mount.happened(`waiting ${SLOW}`);
    // The package's own limit is 15 s: waiting is the point here.
    await delay(17_000);
    await mount.call("open", SLOW);
    expect((await slow).equals(slowBytes)).toBe(true);
  });

  rowAlone("F1: a reader that is killed while it waits for the page cache is gone at once", async (start) => {
    await using mount = await start();
    await mount.call("shut", SLOW);
    const reader = spawn("cat", [mount.at(SLOW)], { stdio: "ignore" });
    const exited = once(reader, "exit");
    await mount.happened(`waiting ${SLOW}`);
    reader.kill("SIGKILL");
    expect(await exited).toEqual([null, "SIGKILL"]);
  });

  rowAlone(
    "a direct reader that is killed while it waits is gone, and its request is told",
    async (start) => {
      await using mount = await start({ filesystem: { directIo: true } });
      await mount.call("shut", SLOW);
      const reader = spawn("cat", [mount.at(SLOW)], { stdio: "ignore" });
      const exited = once(reader, "exit");
      await mount.happened(`waiting ${SLOW}`);
      reader.kill("SIGKILL");
      expect(await exited).toEqual([null, "SIGKILL"]);
      await mount.happened(`interrupted ${SLOW}`);
    },
    { "fuse-native": NO_INTERRUPT },
  );

  rowAlone(
    "a signal that does not kill leaves a read alone, and a later SIGKILL still ends it",
    async (start) => {
      await using mount = await start({ filesystem: { directIo: true } });
      await mount.call("shut", SLOW);
      const code = `
import signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
open(sys.argv[1], "rb", buffering=0).read(100)
`;
      const reader = spawn("python3", ["-c", code, mount.at(SLOW)], { stdio: "ignore" });
      const exited = once(reader, "exit");
      await mount.happened(`waiting ${SLOW}`);
      reader.kill("SIGALRM");
      // The alarm has used up the one INTERRUPT of this request, and another file is served meanwhile.
      expect(readFileSync(mount.at("files/one")).length).toBe(1);
      expect(reader.exitCode).toBe(null);
      reader.kill("SIGKILL");
      expect(await exited).toEqual([null, "SIGKILL"]);
      await mount.happened(`interrupted ${SLOW}`);
    },
    { "fuse-native": NO_INTERRUPT },
  );

  rowAlone("the file system's end while a read waits leaves no reader behind", async (start) => {
    await using mount = await start();
    await mount.call("shut", SLOW);
    const reader = spawn("cat", [mount.at(SLOW)], { stdio: ["ignore", "ignore", "pipe"] });
    const exited = once(reader, "exit");
    await mount.happened(`waiting ${SLOW}`);
    expect(await mount.stop()).toBe(0);
    expect(await exited).toEqual([1, null]);
  });
});
