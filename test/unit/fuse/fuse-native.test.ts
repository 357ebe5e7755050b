import { constants } from "node:fs";
import { describe, expect, test } from "vitest";
import { OpenFiles } from "../../../src/fuse/fuse-native-files.ts";
import { Paths, type Walk } from "../../../src/fuse/fuse-native-paths.ts";
import { toDirentStat, toOpenFlags, toStat } from "../../../src/fuse/fuse-native-stat.ts";
import type { Attributes, Caller, Filesystem } from "../../../src/vfs/filesystem.ts";

const ATTRIBUTES: Attributes = {
  ino: 7,
  type: "file",
  sizeBytes: 6_000_000_000,
  mode: 0o640,
  nlink: 1,
  uid: 1,
  gid: 2,
  atimeMs: 1000.9,
  mtimeMs: 1_700_000_000_123.456,
  ctimeMs: -5000,
  blocks: 3,
};
const { signal } = new AbortController();
const CALLER: Caller = { uid: 0, gid: 0, pid: 1, waiter: signal, signal };

function walkTo(nodeId: number): Walk {
  return { nodeId, entry: undefined, forget: () => {} };
}

describe("attributes", () => {
  test("F5: times are whole milliseconds, and none is before 1970", () => {
    const stat = toStat(ATTRIBUTES);
    expect([stat.atime, stat.mtime, stat.ctime]).toEqual([1000, 1_700_000_000_123, 0]);
    expect(stat.mode).toBe(constants.S_IFREG | 0o640);
    expect(stat.size).toBe(6_000_000_000);
  });

  test("F4: inode numbers are folded into 32 bits, the same way in both places", () => {
    for (const ino of [1, 2 ** 32 - 1, 2 ** 32 + 5, 2 ** 52 + 2 ** 33 + 9]) {
      const folded = toStat({ ...ATTRIBUTES, ino }).ino;
      expect(folded).toBe(toDirentStat(ino, "file").ino);
      expect(Number.isInteger(folded) && folded >= 0 && folded < 2 ** 32).toBe(true);
    }
    expect(toStat(ATTRIBUTES).ino).toBe(7);
    expect(toStat({ ...ATTRIBUTES, ino: 2 ** 32 + 5 }).ino).toBe(4);
  });

  test.each([
    [constants.O_RDONLY, { read: true, write: false }],
    [constants.O_WRONLY | constants.O_APPEND, { read: false, write: true, append: true }],
    [
      constants.O_RDWR | constants.O_TRUNC | constants.O_EXCL,
      { read: true, write: true, truncate: true, exclusive: true },
    ],
    [constants.O_RDWR | constants.O_SYNC, { sync: true, direct: false }],
    [constants.O_RDONLY | constants.O_DIRECT, { direct: true, sync: false }],
  ])("open flags %i", (flags, wanted) => {
    expect(toOpenFlags(flags)).toMatchObject(wanted);
  });
});

describe("open files", () => {
  test("have small positive numbers, each of its own", () => {
    const files = new OpenFiles();
    const numbers = [files.add(5, "/a", walkTo(2)), files.add(5, "/b", walkTo(3))];
    expect(numbers).toEqual([1, 2]);
    expect(files.take(1).path).toBe("/a");
    expect(() => files.get(1)).toThrow("not open");
  });

  test("F2: a path that is open refuses another version, by the name it has now", () => {
    const files = new OpenFiles();
    files.add(5, "/folder/a", walkTo(2));
    expect(() => files.refuseMixing("/folder/a", walkTo(2))).not.toThrow();
    expect(() => files.refuseMixing("/folder/a", walkTo(9))).toThrow("was replaced while it is open");
    files.renamed("/folder", "/moved");
    expect(() => files.refuseMixing("/folder/a", walkTo(9))).not.toThrow();
    expect(() => files.refuseMixing("/moved/a", walkTo(9))).toThrow("was replaced while it is open");
  });
});

describe("paths", () => {
  /** Counts references; `/a/b` exists, and looking up in node 3 fails. */
  function counting(): { paths: Paths; references: Map<number, number> } {
    const references = new Map<number, number>();
    const count = (id: number, by: number) => references.set(id, (references.get(id) ?? 0) + by);
    const ids: Record<string, number> = { "1/a": 2, "2/b": 3 };
    const filesystem = {
      lookup: (parent: number, name: string) => {
        if (parent === 3) throw new Error("no folder");
        const nodeId = ids[`${parent}/${name}`] ?? 0;
        if (nodeId !== 0) count(nodeId, 1);
        return { nodeId, attributes: ATTRIBUTES, entryTtlMs: 0, attributeTtlMs: 0 };
      },
      forget: (id: number, times: number) => void count(id, -times),
    };
    return { paths: new Paths(filesystem as unknown as Filesystem), references };
  }

  test("a walk holds each node of its chain until it is forgotten", async () => {
    const { paths, references } = counting();
    const walk = await paths.walk("/a/b", CALLER);
    expect([...references]).toEqual([
      [2, 1],
      [3, 1],
    ]);
    walk.forget();
    expect([...references.values()]).toEqual([0, 0]);
  });

  test("a walk that fails has forgotten what it looked up", async () => {
    const { paths, references } = counting();
    await expect(paths.walk("/a/none", CALLER)).rejects.toMatchObject({ code: "not_found" });
    await expect(paths.walk("/a/b/c", CALLER)).rejects.toThrow("no folder");
    expect([...references.values()]).toEqual([0, 0]);
  });

  test("only libfuse's own hidden names hide a file", () => {
    expect(Paths.hides("/a/b", "/a/.fuse_hidden0000000a00000001")).toBe(true);
    expect(Paths.hides("/a/b", "/c/.fuse_hidden0000000a00000001")).toBe(false);
    expect(Paths.hides("/a/b", "/a/.fuse_hidden-of-mine")).toBe(false);
  });

  test("a hidden file is reached by its hidden path, also after its folder was renamed", async () => {
    const { paths, references } = counting();
    const hidden = "/a/.fuse_hidden0000000300000001";
    paths.hide(hidden, await paths.walk("/a/b", CALLER));
    expect((await paths.walk(hidden, CALLER)).nodeId).toBe(3);
    expect(paths.holdsHidden("/a")).toBe(true);
    paths.renamed("/a", "/z");
    expect(paths.holdsHidden("/a")).toBe(false);
    expect(paths.unhide("/z/.fuse_hidden0000000300000001")).toBe(true);
    expect(paths.unhide(hidden)).toBe(false);
    expect([...references.values()]).toEqual([0, 0]);
  });
});
