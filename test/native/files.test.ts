import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { native } from "../../src/common/native.ts";
import { outcome } from "./serve-here.ts";

const MiB = 1024 * 1024;
const folder = fileURLToPath(new URL("../../native", import.meta.url));
let scratch = "";

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "hawser-files-"));
});
afterAll(() => rmSync(scratch, { recursive: true }));

function withFile<T>(name: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(join(scratch, name), flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

describe("leases", () => {
  it("are refused while somebody has the file open for writing, and granted after", () => {
    writeFileSync(join(scratch, "leased"), "x");
    withFile("leased", "r", (fd) => {
      const writer = openSync(join(scratch, "leased"), "r+");
      expect(native().setLease(fd, "read")).toBe(false);
      closeSync(writer);
      expect(native().setLease(fd, "read")).toBe(true);
      expect(native().setLease(fd, "none")).toBe(true);
    });
  });

  it("of no open file are an error with its errno", () => {
    expect(() => native().setLease(1_000_000, "read")).toThrow(expect.objectContaining({ code: "EBADF" }));
  });

  it("of an unknown kind are refused", () => {
    expect(() => Reflect.apply(native().setLease, undefined, [0, "write"])).toThrow(TypeError);
  });
});

describe("locks", () => {
  it("exclude another open of the same file until it is closed", () => {
    const first = openSync(join(scratch, "lock"), "w");
    const second = openSync(join(scratch, "lock"), "w");
    expect(native().flockExclusive(first)).toBe(true);
    expect(native().flockExclusive(second)).toBe(false);
    closeSync(first);
    expect(native().flockExclusive(second)).toBe(true);
    closeSync(second);
  });
});

describe("holes", () => {
  it("are punched, found and filled", async () => {
    const fd = openSync(join(scratch, "holes"), "w+");
    writeSync(fd, Buffer.alloc(3 * MiB, 1));
    await native().punchHole(fd, MiB, MiB);
    expect(native().lseekHole(fd, 0)).toBe(MiB);
    expect(native().lseekData(fd, MiB)).toBe(2 * MiB);
    expect(fstatSync(fd).size).toBe(3 * MiB);
    expect(readFileSync(join(scratch, "holes"))[MiB]).toBe(0);
    await native().fallocate(fd, 0, 3 * MiB, MiB);
    expect(fstatSync(fd).size).toBe(4 * MiB);
    closeSync(fd);
  });

  it("are looked for past the end in vain", () => {
    withFile("empty", "w+", (fd) => {
      expect(native().lseekData(fd, 10)).toBe(-1);
      expect(native().lseekHole(fd, 10)).toBe(-1);
    });
  });

  it("of a closed file reject with its errno", async () => {
    await expect(native().punchHole(1_000_000, 0, 1)).rejects.toMatchObject({
      code: "EBADF",
      syscall: "fallocate",
    });
  });
});

describe("execve", () => {
  const run = (code: string): ReturnType<typeof outcome> =>
    outcome(
      spawn(
        process.execPath,
        ["-e", `const addon = require("node-gyp-build")(${JSON.stringify(folder)});${code}`],
        {
          cwd: folder,
        },
      ),
    );

  it("puts another program in the process's place, with its arguments, environment and pipes", async () => {
    const inner = `process.stdout.write([process.pid, process.argv[1], process.env.UV_THREADPOOL_SIZE].join())`;
    const child = spawn(
      process.execPath,
      [
        "-e",
        `require("node-gyp-build")(${JSON.stringify(folder)}).execve(process.execPath,
          [process.execPath, "-e", ${JSON.stringify(inner)}, "argument"], ["UV_THREADPOOL_SIZE=17"])`,
      ],
      { cwd: folder },
    );
    expect(await outcome(child)).toMatchObject({ code: 0, stdout: `${child.pid},argument,17`, stderr: "" });
  });

  it("throws and leaves the process as it was when there is no such program", async () => {
    const result = await run(
      `try { addon.execve("/no/such", ["x"], []) } catch (error) { console.log(error.code, error.syscall) }`,
    );
    expect(result).toMatchObject({ code: 0, stdout: "ENOENT execve\n" });
  });
});

describe("the limit of open files", () => {
  it("is raised to the hard one", () => {
    const code = `console.log(require("node-gyp-build")(${JSON.stringify(folder)}).setRlimitNofile())`;
    const limited = `ulimit -Sn 100; ulimit -Hn 5000; exec ${process.execPath} -e '${code}'`;
    expect(spawnSync("sh", ["-c", limited], { cwd: folder, encoding: "utf8" }).stdout).toBe("5000\n");
  });
});
