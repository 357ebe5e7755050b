/** Opening, reading, references, and what a read-only volume refuses. */
import { expect, test } from "vitest";
import type { Backing, BackingKernel, ContentReader, Resting } from "../../../src/cache/content.ts";
import type { AnsweredOpens, Kernel, OpenReply } from "../../../src/vfs/filesystem.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { OpenFiles } from "../../../src/vfs/open-files.ts";
import { decideOpen } from "../../../src/vfs/open-policy.ts";
import type { OpenState } from "../../../src/vfs/open-policy.ts";
import { caller, list, names, READ, readText, resolve, Sink, volume } from "./support.ts";

const STATES: OpenState[] = ["closed", "passthrough", "cached"];

test.each([
  // complete, passthrough, state, direct, decision
  [false, false, "closed", false, "cached"],
  [true, false, "closed", false, "cached"],
  [false, true, "closed", false, "cached"],
  [true, true, "closed", false, "passthrough"],
  [true, true, "cached", false, "cached"],
  [false, true, "passthrough", false, "passthrough"],
  [true, true, "passthrough", true, "passthrough"],
  [true, true, "closed", true, "direct"],
  [false, false, "cached", true, "direct"],
] as const)(
  "complete %s, passthrough %s, open %s, O_DIRECT %s: %s",
  (completeLocally, passthrough, state, direct, kind) => {
    expect(decideOpen({ completeLocally, passthrough, state, direct }).kind).toBe(kind);
  },
);

test("passthrough and cached opens of one node id never meet, and pages of a version are always kept", () => {
  for (const state of STATES) {
    for (let bits = 0; bits < 8; bits++) {
      const decision = decideOpen({
        completeLocally: (bits & 1) > 0,
        passthrough: (bits & 2) > 0,
        direct: (bits & 4) > 0,
        state,
      });
      if (state === "passthrough") expect(decision.kind).not.toBe("cached");
      if (state === "cached") expect(decision.kind).not.toBe("passthrough");
      if (decision.kind === "cached") expect(decision.keepCache).toBe(true);
    }
  }
});

/** Who holds backing files at rest, in order. */
const rested: Resting[] = [];

function backed(calls: string[], later = false): ContentReader {
  const backing = (to: BackingKernel): Backing | undefined => {
    const backingId = to.openBacking(7);
    if (backingId === undefined) return undefined;
    return {
      backingId,
      release: () => calls.push("release"),
      rest: (resting) => rested.push(resting),
      wake: () => calls.push("wake"),
    };
  };
  return {
    version: { key: "k", etag: "e", sizeBytes: 1, mtimeMs: 0 },
    read: () => ({ chunks: [], lengthBytes: 0, release() {} }),
    backing: (to) => (later ? Promise.resolve(backing(to)) : backing(to)),
    close: () => calls.push("close"),
  };
}

function kernel(calls: string[], answer: number | undefined): Kernel {
  return {
    passthrough: true,
    invalidateEntry: async () => {},
    invalidateInode: async () => {},
    openBacking: (fd) => {
      calls.push(`open ${fd}`);
      return answer;
    },
    closeBacking: (id) => calls.push(`close ${id}`),
  };
}

function openFiles(calls: string[], answer: number | undefined): OpenFiles {
  let last = 0;
  const files = new OpenFiles(() => ++last);
  files.attach(kernel(calls, answer));
  return files;
}

test("one backing registration serves all opens of a node id, and goes with the last", async () => {
  const calls: string[] = [];
  const files = openFiles(calls, 42);
  const first = await files.open(9, backed(calls), false);
  const second = await files.open(9, backed(calls), false);
  expect([first.backingId, second.backingId]).toEqual([42, 42]);
  files.release(first.handle);
  files.release(first.handle);
  expect(calls).toEqual(["open 7", "close"]);
  files.release(second.handle);
  expect(calls).toEqual(["open 7", "close", "close", "release"]);
  expect(files.passthroughNodes).toBe(0);
});

test("a backing file that is opened too late gives way to what was decided meanwhile", async () => {
  const calls: string[] = [];
  const files = openFiles(calls, 42);
  const [first, second] = await Promise.all([
    files.open(9, backed(calls, true), false),
    files.open(9, backed(calls, true), false),
  ]);
  expect([first.backingId, second.backingId]).toEqual([42, 42]);
  expect(calls).toEqual(["open 7", "open 7", "release"]);
});

/** A channel that answers opens by itself, with `openings` made by the test. */
class Answering implements AnsweredOpens {
  readonly nodes = new Map<number, { reply: OpenReply; open: number }>();

  /** An open that nobody is told of. */
  open(nodeId: number): OpenReply {
    const node = this.nodes.get(nodeId)!;
    node.open++;
    return node.reply;
  }

  begin(nodeId: number, reply: OpenReply): void {
    this.nodes.set(nodeId, { reply, open: 0 });
  }

  end(nodeId: number): number {
    const open = this.nodes.get(nodeId)!.open;
    this.nodes.delete(nodeId);
    return open;
  }

  use(): "unused" {
    return "unused";
  }

  counts(): { open: number; total: number } {
    return { open: Array.from(this.nodes.values()).reduce((sum, { open }) => sum + open, 0), total: 0 };
  }
}

function answeredFiles(
  calls: string[],
  mayAnswer = (_nodeId: number): boolean => true,
): { files: OpenFiles; answering: Answering } {
  let last = 0;
  const files = new OpenFiles(() => ++last, mayAnswer);
  const answering = new Answering();
  files.attach({ ...kernel(calls, 42), answeredOpens: answering });
  return { files, answering };
}

test("after the last open the channel answers the next ones, until the node's version ends", async () => {
  const calls: string[] = [];
  const { files, answering } = answeredFiles(calls);
  const first = await files.open(9, backed(calls), false);
  const second = await files.open(9, backed(calls), false);
  files.release(first.handle);
  expect(answering.nodes.size).toBe(0);
  files.release(second.handle);
  expect(answering.nodes.get(9)!.reply).toEqual(second);
  expect(files.size).toBe(0);
  answering.open(9);
  answering.open(9);
  expect(files.size).toBe(2);
  expect(files.get(second.handle).reader.version.key).toBe("k");
  files.endAnswering(9);
  files.endAnswering(9);
  expect(files.size).toBe(1);
  expect(calls).toEqual(["open 7", "close", "wake"]);
  // Another open joins the backing file that is in the kernel's hands.
  const third = await files.open(9, backed(calls), false);
  expect(third.backingId).toBe(42);
  files.release(second.handle);
  files.release(third.handle);
  expect(calls).toEqual(["open 7", "close", "wake", "close"]);
  // The last of all leaves nothing behind, and ends once.
  files.release(second.handle);
  expect(answering.nodes.get(9)!.reply).toEqual(second);
  files.release(second.handle);
  files.endAnswering(9);
  expect(calls).toEqual(["open 7", "close", "wake", "close", "wake", "close", "release"]);
  expect([files.size, files.passthroughNodes]).toEqual([0, 0]);
});

test("an open that is asked for ends the answering, as does whoever wants the file, and the end", async () => {
  const calls: string[] = [];
  const { files, answering } = answeredFiles(calls);
  const open = async (nodeId: number, direct = false): Promise<OpenReply> =>
    files.open(nodeId, backed(calls), direct);
  files.release((await open(9)).handle);
  expect((await open(9, true)).directIo).toBe(true);
  expect(answering.nodes.size).toBe(0);
  expect(calls).toEqual(["open 7", "wake", "close", "release"]);
  calls.length = 0;
  files.release((await open(8)).handle);
  rested.at(-1)!.wanted();
  expect(calls).toEqual(["open 7", "wake", "close", "release"]);
  calls.length = 0;
  files.release((await open(7)).handle);
  answering.open(7);
  files.close();
  expect(calls).toEqual(["open 7", "wake", "close", "close", "release"]);
  expect([files.size, answering.nodes.size]).toEqual([0, 0]);
});

test("what was read through the page cache and is complete by its last close is answered too", async () => {
  const calls: string[] = [];
  const { files, answering } = answeredFiles(calls);
  let complete = false;
  const reader = backed(calls);
  const late = { ...reader, backing: (to: BackingKernel) => (complete ? reader.backing(to) : undefined) };
  const { handle, backingId } = await files.open(9, late, false);
  expect(backingId).toBeUndefined();
  complete = true;
  files.release(handle);
  expect(answering.nodes.get(9)!.reply).toMatchObject({ handle, backingId: 42, keepCache: false });
});

test("a version that has ended while it was open is not answered any more", async () => {
  const calls: string[] = [];
  let current = true;
  const { files, answering } = answeredFiles(calls, () => current);
  const { handle } = await files.open(9, backed(calls), false);
  current = false;
  files.endAnswering(9);
  files.release(handle);
  expect(answering.nodes.size).toBe(0);
  expect(calls).toEqual(["open 7", "close", "release"]);
});

test("where files are written every open is asked for", async () => {
  const calls: string[] = [];
  let last = 0;
  const files = new OpenFiles(() => ++last);
  const answering = new Answering();
  files.attach({ ...kernel(calls, 42), answeredOpens: answering });
  files.release((await files.open(9, backed(calls), false)).handle);
  expect(answering.nodes.size).toBe(0);
  expect(calls).toEqual(["open 7", "close", "release"]);
});

test("where the kernel refuses a backing file the open is cached", async () => {
  const calls: string[] = [];
  const files = openFiles(calls, undefined);
  const reply = await files.open(9, backed(calls), false);
  expect(reply).toMatchObject({ keepCache: true, directIo: false });
  expect(reply.backingId).toBeUndefined();
  expect(calls).toEqual(["open 7"]);
  expect((await files.open(9, backed(calls), true)).directIo).toBe(true);
});

test("a handle reads to the end and no further, and misuse is refused", async () => {
  const { fs, content } = volume({ a: "hello", d: "" });
  const entry = await resolve(fs, "a");
  const { handle, keepCache } = await fs.open(entry.nodeId, READ, caller());
  expect(keepCache).toBe(true);
  const reply = await fs.read(handle, 3, 100, caller());
  expect(Buffer.concat(reply.chunks).toString()).toBe("lo");
  expect(fs.lseek(handle, 1, "data", caller())).toBe(1);
  expect(fs.lseek(handle, 1, "hole", caller())).toBe(5);
  expect(() => fs.lseek(handle, 5, "data", caller())).toThrow(
    expect.objectContaining({ code: "beyond_end" }),
  );
  fs.release(handle);
  fs.release(handle);
  expect(content.open_).toBe(0);
  expect(() => fs.read(handle, 0, 1, caller())).toThrow(expect.objectContaining({ code: "bad_handle" }));
  expect(() => fs.readdir(77, 0, new Sink(true), caller())).toThrow(
    expect.objectContaining({ code: "bad_handle" }),
  );
});

test("R15 whatever would change a read-only volume is refused", async () => {
  const { fs } = volume({ a: "1" });
  const { nodeId } = await resolve(fs, "a");
  const readonly = expect.objectContaining({ code: "volume_readonly" });
  const refused = [
    "setattr",
    "write",
    "fallocate",
    "copyFileRange",
    "create",
    "mkdir",
    "symlink",
    "mknod",
    "link",
    "unlink",
    "rmdir",
    "rename",
    "setxattr",
    "removexattr",
  ] as const;
  for (const operation of refused) expect(() => fs[operation]()).toThrow(readonly);
  expect(() => fs.open(nodeId, { ...READ, write: true }, caller())).toThrow(readonly);
  expect(() => fs.open(nodeId, { ...READ, truncate: true }, caller())).toThrow(readonly);
});

test("files and folders are told apart", async () => {
  const { fs } = volume({ "d/a": "1", a: "1" });
  const file = await resolve(fs, "a");
  const folder = await resolve(fs, "d");
  expect(() => fs.opendir(file.nodeId, caller())).toThrow(
    expect.objectContaining({ code: "not_a_directory" }),
  );
  expect(() => fs.lookup(file.nodeId, "x", caller())).toThrow(
    expect.objectContaining({ code: "not_a_directory" }),
  );
  expect(() => fs.open(folder.nodeId, READ, caller())).toThrow(
    expect.objectContaining({ code: "is_a_directory" }),
  );
  expect(() => fs.lookup(ROOT, "x".repeat(256), caller())).toThrow(
    expect.objectContaining({ code: "name_too_long" }),
  );
  await expect(fs.readlink(file.nodeId, caller())).rejects.toMatchObject({ code: "invalid_argument" });
});

test("R16 owner and permissions are the options'", async () => {
  const objects = { "d/a": "1" };
  const options = { uid: 7, gid: 8, fileMode: 0o444, dirMode: 0o511 };
  const { fs } = volume(objects, options);
  expect(await resolve(fs, "d/a")).toMatchObject({
    attributes: { mode: 0o444, uid: 7, gid: 8, type: "file", nlink: 1 },
  });
  expect(fs.getattr(ROOT)).toMatchObject({ attributes: { mode: 0o511, uid: 7, gid: 8, type: "directory" } });
  const masked = volume(objects, { umask: 0o027 }).fs;
  expect((await resolve(masked, "d/a")).attributes.mode).toBe(0o640);
  expect((await resolve(masked, "d")).attributes.mode).toBe(0o750);
});

test("statfs has room, and attributes are few and quickly told", async () => {
  const { fs, bucket } = volume({ a: "1" });
  const { nodeId } = await resolve(fs, "a");
  expect(fs.statfs(ROOT, caller())).toMatchObject({ nameMax: 255, blockSize: 4096 });
  expect(() => fs.getxattr(nodeId, "security.capability", caller())).toThrow(
    expect.objectContaining({ code: "no_attribute" }),
  );
  expect(Buffer.from(fs.getxattr(nodeId, "user.hawser.etag", caller())).toString()).toMatch(/^[0-9a-f]{32}$/);
  expect(Buffer.from(fs.getxattr(nodeId, "user.hawser.storage-class", caller())).toString()).toBe("STANDARD");
  expect(fs.listxattr(nodeId, caller())).toEqual([]);
  expect(bucket.heads).toEqual([]);
});

test("a million lookups, forgotten, leave nothing", async () => {
  const { fs, clock } = volume(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, "x"])));
  await names(fs);
  const counts = fs.counts();
  const held = new Map<number, number>();
  for (let i = 0; i < 1_000_000; i++) {
    const { nodeId } = await fs.lookup(ROOT, `f${i % 1000}`, caller());
    held.set(nodeId, (held.get(nodeId) ?? 0) + 1);
    if (i % 1000 === 999) clock.advance(1);
  }
  expect(fs.counts().treeBytes).toBe(counts.treeBytes);
  for (const [nodeId, count] of held) {
    fs.forget(nodeId, count - 1);
    expect(fs.getattr(nodeId)).toMatchObject({ attributes: { nlink: 1 } });
    fs.forget(nodeId, 1);
  }
  for (let i = 0; i < 400; i++) clock.advance(5000);
  // The listing of names() referred to each once more.
  expect(fs.counts().entries).toBe(1001);
  for (const nodeId of held.keys()) fs.forget(nodeId, 1);
  for (let i = 0; i < 3; i++) clock.advance(5000);
  expect(fs.counts().entries).toBe(1);
});

test("only entries that were taken count as lookups, and never '.' and '..'", async () => {
  const { fs } = volume({ "d/a": "1", "d/b": "2" });
  const folder = await resolve(fs, "d");
  const { handle } = fs.opendir(folder.nodeId, caller());
  const sink = new Sink(true, 3);
  await fs.readdir(handle, 0, sink, caller());
  if (sink.entries.length < 3) await fs.readdir(handle, 2, sink, caller());
  expect(sink.entries.map((entry) => entry.name)).toEqual([".", "..", "a"]);
  expect(sink.entries.map((entry) => entry.nodeId).slice(0, 2)).toEqual([0, 0]);
  fs.releasedir(handle);
  fs.releasedir(handle);
  fs.forget(sink.entries[2]!.nodeId!, 1);
  fs.forget(folder.nodeId, 1);
  fs.forget(123456789, 1);
  fs.forget(ROOT, 1);
});

test("seeking in a folder goes back to where an offset was given", async () => {
  const { fs } = volume({ a: "1", b: "2", c: "3", d: "4" });
  const all = await list(fs);
  const { handle } = fs.opendir(ROOT, caller());
  for (const [i, entry] of all.entries()) {
    const sink = new Sink(false);
    await fs.readdir(handle, entry.offset, sink, caller());
    expect(sink.entries.map((other) => other.name)).toEqual(all.slice(i + 1).map((other) => other.name));
  }
});

test("R13 inode numbers stay the path's over changes and over mounts", async () => {
  const first = volume({ "d/a": "1" });
  const before = await resolve(first.fs, "d/a");
  await first.bucket.put("d/a", Buffer.from("22"));
  first.clock.advance(61_000);
  expect((await resolve(first.fs, "d/a")).attributes.ino).toBe(before.attributes.ino);
  const second = volume({ "p/d/a": "9" }, { prefix: "p" });
  expect((await resolve(second.fs, "d/a")).attributes.ino).toBe(before.attributes.ino);
});

test("an ETag that is no MD5 is kept as it is", async () => {
  const { fs, bucket, content } = volume({});
  const sorted = bucket.list.bind(bucket);
  bucket.list = async (...args) => {
    const page = await sorted(...args);
    for (const object of page.objects) object.etag = `"odd" ${object.etag.toUpperCase()}`;
    return page;
  };
  await bucket.put("a", Buffer.from("1"));
  const { nodeId } = await resolve(fs, "a");
  await fs.open(nodeId, READ, caller());
  expect(content.opened[0]!.etag).toMatch(/^"odd" [0-9A-F]{32}$/);
});

test("text of every kind of name arrives whole", async () => {
  const objects: Record<string, string> = {};
  for (const name of ["with space", "new\nline", "ünïcode", "😀", "%41", "a+b", "\u0001", "n".repeat(255)])
    objects[`d/${name}`] = name;
  const { fs } = volume(objects);
  for (const [key, text] of Object.entries(objects))
    expect(await readText(fs, (await resolve(fs, key)).nodeId)).toBe(text);
});
