import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { constants } from "node:os";
import { expect } from "vitest";
import { FILES } from "../support/conformance-tree.ts";
import { patternBytes } from "../support/sparse-content.ts";
import { conformance } from "./table.ts";

const PATH = "files/changing";
const OLD = FILES.changing;
const NEW = { sizeBytes: 200_000, seed: 99 };
const oldBytes = patternBytes(OLD.seed, 0, OLD.sizeBytes);
const newBytes = patternBytes(NEW.seed, 0, NEW.sizeBytes);
const NO_NOTIFY = "F3: the package cannot tell the kernel anything: names and attributes live a second";

conformance("versions", { filesystem: { ttlMs: 3_600_000 } }, ({ rowAlone }) => {
  rowAlone(
    "an open of a replaced file is looked up again by itself and reads the new version",
    async (start) => {
      await using mount = await start({ filesystem: { ttlMs: 1000 } });
      expect(readFileSync(mount.at(PATH)).equals(oldBytes)).toBe(true);
      await mount.call("replace", `/${PATH}`, NEW.sizeBytes, NEW.seed);
      const fd = openSync(mount.at(PATH), "r");
      const into = Buffer.alloc(1000);
      readSync(fd, into, 0, 1000, 5000);
      closeSync(fd);
      expect(into.equals(newBytes.subarray(5000, 6000))).toBe(true);
    },
  );

  rowAlone("an open file reads on in its own version after it was replaced", async (start) => {
    await using mount = await start();
    const fd = openSync(mount.at(PATH), "r");
    const into = Buffer.alloc(1000);
    readSync(fd, into, 0, 1000, 0);
    await mount.call("replace", `/${PATH}`, NEW.sizeBytes, NEW.seed);
    readSync(fd, into, 0, 1000, 250_000);
    closeSync(fd);
    expect(into.equals(oldBytes.subarray(250_000, 251_000))).toBe(true);
  });

  rowAlone(
    "two versions are open side by side and never mix",
    async (start) => {
      await using mount = await start();
      const older = openSync(mount.at(PATH), "r");
      await mount.call("replace", `/${PATH}`, NEW.sizeBytes, NEW.seed);
      const newer = openSync(mount.at(PATH), "r");
      const before = readFileSync(older);
      const after = readFileSync(newer);
      closeSync(older);
      closeSync(newer);
      expect(before.equals(oldBytes)).toBe(true);
      expect(after.equals(newBytes)).toBe(true);
    },
    { "fuse-native": "F2: libfuse has one page cache a path, so the second open is ESTALE" },
  );

  rowAlone(
    "F2: two versions of a path never mix: the second is refused where it cannot be shown",
    async (start) => {
      await using mount = await start();
      const older = openSync(mount.at(PATH), "r");
      readFileSync(older);
      await mount.call("replace", `/${PATH}`, NEW.sizeBytes, NEW.seed);
      let newer: Buffer | undefined;
      try {
        newer = readFileSync(mount.at(PATH));
      } catch (error) {
        expect((error as NodeJS.ErrnoException).errno).toBe(-constants.errno.ESTALE);
      }
      closeSync(older);
      if (newer) expect(newer.equals(newBytes)).toBe(true);
      expect(readFileSync(mount.at(PATH)).subarray(0, 1000).equals(newBytes.subarray(0, 1000))).toBe(true);
    },
  );

  rowAlone(
    "an invalidated name is looked up again within its time to live",
    async (start) => {
      await using mount = await start();
      expect(statSync(mount.at(PATH)).size).toBe(OLD.sizeBytes);
      await mount.call("replace", `/${PATH}`, NEW.sizeBytes, NEW.seed);
      expect(statSync(mount.at(PATH)).size).toBe(OLD.sizeBytes);
      await mount.call("invalidateEntry", "/files", "changing");
      expect(statSync(mount.at(PATH)).size).toBe(NEW.sizeBytes);
    },
    { "fuse-native": NO_NOTIFY },
  );

  rowAlone(
    "an invalidated inode's pages are read again",
    async (start) => {
      await using mount = await start({ filesystem: { ttlMs: 3_600_000, keepCache: true } });
      expect(readFileSync(mount.at(PATH)).equals(oldBytes)).toBe(true);
      await mount.call("scribble", `/${PATH}`, "scribbled");
      expect(readFileSync(mount.at(PATH)).equals(oldBytes)).toBe(true);
      await mount.call("invalidateInode", `/${PATH}`);
      expect(readFileSync(mount.at(PATH)).toString("latin1", 0, 9)).toBe("scribbled");
    },
    { "fuse-native": NO_NOTIFY },
  );

  rowAlone(
    "F3: a change is seen within about a second, whatever the time to live",
    async (start) => {
      await using mount = await start();
      expect(statSync(mount.at(PATH)).size).toBe(OLD.sizeBytes);
      await mount.call("replace", `/${PATH}`, NEW.sizeBytes, NEW.seed);
      await expect.poll(() => statSync(mount.at(PATH)).size).toBe(NEW.sizeBytes);
    },
    { native: "names are believed for as long as the file system says" },
  );
});
