/** Files of a writable volume: bytes, handles, and what closing them means. */
import { describe, expect, test, vi } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { decideWritableOpen } from "../../../src/vfs/writable-open-policy.ts";
import type { WritableOpenInputs } from "../../../src/vfs/writable-open-policy.ts";
import { isSignaled } from "../../../src/vfs/killed-writer.ts";
import { caller, list, READ, resolve, settle, Sink } from "./support.ts";
import {
  cat,
  locate,
  mkdir,
  mv,
  objects,
  put,
  readHandle,
  READ_WRITE,
  stat,
  TRUNCATE,
  writable,
  WRITE,
} from "./writable-support.ts";
import type { WritableVolume } from "./writable-support.ts";

const KEEP = { killSuidGid: false };

async function open(volume: WritableVolume, path: string, flags = READ_WRITE, pid = 4242) {
  const { nodeId } = await resolve(volume.fs, path);
  return { nodeId, ...(await volume.fs.open(nodeId, flags, { ...caller(), pid })) };
}

const CLOSED: WritableOpenInputs = {
  staged: "whole",
  passthrough: true,
  state: "closed",
  direct: false,
  sync: false,
};

test.each([
  [{}, "passthrough"],
  [{ passthrough: false }, "cached"],
  [{ staged: "partly" }, "cached"],
  [{ staged: "none" }, "cached"],
  [{ sync: true }, "cached"],
  [{ direct: true }, "direct"],
  [{ state: "cached" }, "cached"],
  [{ state: "cached", direct: true }, "direct"],
  [{ state: "cached", sync: true }, "cached"],
  [{ state: "passthrough" }, "passthrough"],
  [{ state: "passthrough", staged: "none", passthrough: false }, "passthrough"],
  [{ state: "passthrough", direct: true }, "direct"],
  [{ state: "passthrough", sync: true }, "direct"],
] as [Partial<WritableOpenInputs>, string][])("an open with %j is %s", (inputs, decision) => {
  expect(decideWritableOpen({ ...CLOSED, ...inputs })).toBe(decision);
});

test("W2 an existing file is changed in place, and published against the version it was", async () => {
  const volume = await writable({ a: "hello world" });
  const { fs, bucket, writeBack } = volume;
  const { handle } = await open(volume, "a");
  expect(writeBack.asked).toEqual([]);
  await fs.write(handle, 6, Buffer.from("WORLD!"), KEEP, caller());
  expect(writeBack.asked).toEqual(["stage a version overlay"]);
  expect(await cat(fs, "a")).toBe("hello WORLD!");
  expect((await stat(fs, "a")).sizeBytes).toBe(12);
  expect(await objects(bucket)).toEqual({ a: "hello world" });
  await fs.release(handle);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "hello WORLD!" });
});

test("an open for writing that writes nothing sends nothing", async () => {
  const volume = await writable({ a: "1" });
  const { handle } = await open(volume, "a");
  await volume.fs.flush(handle, 0n, caller());
  await volume.fs.release(handle);
  expect(volume.writeBack.asked).toEqual([]);
});

test("O_TRUNC and truncate start from nothing, without the old bytes", async () => {
  const volume = await writable({ a: "old", b: "older" });
  const { fs, bucket, writeBack } = volume;
  const { handle } = await open(volume, "a", TRUNCATE);
  expect((await stat(fs, "a")).sizeBytes).toBe(0);
  await fs.write(handle, 0, Buffer.from("new"), KEEP, caller());
  await fs.release(handle);
  const { nodeId } = await resolve(fs, "b");
  await fs.setattr(nodeId, { sizeBytes: 0 }, caller());
  expect(writeBack.asked).toEqual(["stage a version", "stage b version"]);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "new", b: "" });
});

test("a program that is being executed is not emptied by who opens it for reading with O_TRUNC", async () => {
  const volume = await writable({ program: "#!" });
  const { fs, writeBack } = volume;
  const executed = await open(volume, "program", { ...READ, execute: true });
  const emptied = open(volume, "program", { ...READ, truncate: true });
  await expect(emptied).rejects.toMatchObject({ code: "text_busy" });
  expect(await cat(fs, "program")).toBe("#!");
  await fs.release(executed.handle);
  const { handle } = await open(volume, "program", { ...READ, truncate: true });
  await fs.release(handle);
  await writeBack.drain();
  expect(await objects(volume.bucket)).toEqual({ program: "" });
});

test("truncate by path cuts and grows", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "12345" });
  const { nodeId } = await resolve(fs, "a");
  const cut = await fs.setattr(nodeId, { sizeBytes: 2 }, caller());
  expect(cut.attributes.sizeBytes).toBe(2);
  await fs.setattr(nodeId, { sizeBytes: 4 }, caller());
  expect(await cat(fs, "a")).toBe("12\0\0");
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "12\0\0" });
});

test("W3 readers see what a writer has written, and read on after the publication", async () => {
  const volume = await writable({ a: "one" });
  const { fs, writeBack } = volume;
  const reader = await open(volume, "a", READ);
  expect(await readHandle(fs, reader.handle)).toBe("one");
  const writer = await open(volume, "a");
  await fs.write(writer.handle, 3, Buffer.from(" two"), KEEP, caller());
  expect(await readHandle(fs, reader.handle)).toBe("one two");
  await fs.release(writer.handle);
  await writeBack.drain();
  expect(await readHandle(fs, reader.handle)).toBe("one two");
  const again = await open(volume, "a");
  await fs.write(again.handle, 0, Buffer.from("ONE"), KEEP, caller());
  expect(await readHandle(fs, reader.handle)).toBe("ONE two");
  await fs.release(again.handle);
  await fs.release(reader.handle);
  await writeBack.drain();
  expect(await cat(fs, "a")).toBe("ONE two");
});

test("W4 nothing is published while somebody has the file open for writing", async () => {
  const volume = await writable();
  const { fs, bucket, writeBack } = volume;
  await put(fs, "a", "1");
  const { handle } = await open(volume, "a");
  await fs.write(handle, 1, Buffer.from("2"), KEEP, caller());
  await fs.flush(handle, 0n, caller());
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({});
  await fs.release(handle);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "12" });
});

test("the kernel writes new files itself where it can, and readers share the backing file", async () => {
  const volume = await writable({}, { passthrough: true });
  const { fs, kernel, writeBack } = volume;
  const { entry, open: first } = await fs.create(ROOT, "a", 0o644, WRITE, caller());
  expect(first.backingId).toBeDefined();
  expect(first.noFlush).toBe(false);
  const reader = await open(volume, "a", READ);
  expect(reader.backingId).toBe(first.backingId);
  const sync = await open(volume, "a", { ...WRITE, sync: true });
  expect(sync.directIo).toBe(true);
  expect(sync.backingId).toBeUndefined();
  // Written by the kernel: only the staged file knows.
  await writeBack.find("a")!.write(0, Buffer.from("by the kernel"));
  expect((await stat(fs, "a")).sizeBytes).toBe(13);
  const told = (await list(fs))[0]!;
  expect(told.nodeId).toBe(0);
  for (const { handle } of [first, sync, reader]) await fs.release(handle);
  expect(kernel.backings.size).toBe(0);
  expect((await list(fs))[0]).toMatchObject({ nodeId: entry.nodeId, sizeBytes: 13 });
  await writeBack.drain();
  expect(await cat(fs, "a")).toBe("by the kernel");
});

test("a file open through its backing file is written there also after it was published", async () => {
  const volume = await writable({}, { passthrough: true });
  const { fs, bucket, writeBack } = volume;
  await put(fs, "a", "1");
  const reader = await open(volume, "a", READ);
  expect(reader.backingId).toBeDefined();
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "1" });
  const writer = await open(volume, "a");
  expect(writer.backingId).toBe(reader.backingId);
  await writeBack.find("a")!.write(1, Buffer.from("2"));
  await fs.release(writer.handle);
  await fs.release(reader.handle);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "12" });
});

test("what the kernel's page cache has been passed by is not kept", async () => {
  const volume = await writable({ a: "1" }, { passthrough: true });
  const { fs, writeBack } = volume;
  const first = await open(volume, "a", READ);
  expect(first.keepCache).toBe(true);
  await fs.release(first.handle);
  const writer = await open(volume, "a", TRUNCATE);
  expect(writer.backingId).toBeDefined();
  await fs.release(writer.handle);
  await writeBack.drain();
  const second = await open(volume, "a", READ);
  expect(second.keepCache).toBe(false);
  expect(second.backingId).toBeUndefined();
  const third = await open(volume, "a", READ);
  expect(third.keepCache).toBe(true);
});

test("a killed writer's torn rewrite does not replace the object", async () => {
  const volume = await writable({ a: "old" });
  const { fs, bucket, writeBack, killed, kernel } = volume;
  const { handle } = await open(volume, "a", TRUNCATE, 77);
  await fs.write(handle, 0, Buffer.from("ne"), KEEP, caller());
  killed.add(77);
  await fs.flush(handle, 0n, { ...caller(), pid: 77 });
  await fs.release(handle);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "old" });
  expect(kernel.forgotten).toEqual(["1 a"]);
  expect(await cat(fs, "a")).toBe("old");
});

test("a killed writer is gone before its close is done, and its torn rewrite does not replace the object", async () => {
  const volume = await writable({ a: "old" });
  const { fs, bucket, writeBack, killed } = volume;
  const { handle } = await open(volume, "a", TRUNCATE, 77);
  await fs.write(handle, 0, Buffer.from("ne"), KEEP, caller());
  const staged = writeBack.find("a")!;
  let note = (): void => undefined;
  const noted = new Promise<void>((resolve) => (note = resolve));
  staged.tear = async () => {
    await noted;
    staged.torn = true;
  };
  killed.add(77);
  const flushed = fs.flush(handle, 0n, { ...caller(), pid: 77 });
  // Its close was answered, because SIGKILL was pending.
  killed.delete(77);
  const released = fs.release(handle);
  await new Promise((turn) => setImmediate(turn));
  note();
  await Promise.all([flushed, released]);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "old" });
  expect(await cat(fs, "a")).toBe("old");
});

test("a killed writer's new or continued file is published as far as it was written", async () => {
  const volume = await writable({ log: "1\n" });
  const { fs, bucket, writeBack, killed } = volume;
  killed.add(77);
  const { handle } = await open(volume, "log", { ...WRITE, append: true }, 77);
  await fs.write(handle, 2, Buffer.from("2\n"), KEEP, caller());
  const { open: created } = await fs.create(ROOT, "new", 0o644, WRITE, { ...caller(), pid: 77 });
  await fs.write(created.handle, 0, Buffer.from("x"), KEEP, caller());
  for (const it of [handle, created.handle]) {
    await fs.flush(it, 0n, { ...caller(), pid: 77 });
    await fs.release(it);
  }
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ log: "1\n2\n", new: "x" });
});

test.each([
  ["1 (a) S 1 1 1 0 -1 4194304 1", false],
  ["1 (a) S 1 1 1 0 -1 1024 1", true],
  ["1 (we ) ird) S 1 1 1 0 -1 4195328 1", true],
  ["", false],
])("the flags of /proc/PID/stat %j say %s", (text, killed) => {
  expect(isSignaled(text)).toBe(killed);
});

test("a conflict shows what somebody else has put there, under another node id", async () => {
  const volume = await writable({ a: "base" });
  const { fs, bucket, writeBack } = volume;
  const nodeId = await put(fs, "a", "ours");
  bucket.seed("a", "theirs");
  await writeBack.drain();
  const entry = await resolve(fs, "a");
  expect(entry.nodeId).not.toBe(nodeId);
  expect(await cat(fs, "a")).toBe("theirs");
});

test("a version that somebody else puts there waits while a file is open", async () => {
  const volume = await writable({ a: "1" });
  const { fs, bucket, clock } = volume;
  const { handle, nodeId } = await open(volume, "a", READ);
  bucket.seed("a", "22");
  clock.advance(70_000);
  expect((await resolve(fs, "a")).nodeId).toBe(nodeId);
  await fs.release(handle);
  clock.advance(70_000);
  expect((await resolve(fs, "a")).nodeId).not.toBe(nodeId);
  expect(await cat(fs, "a")).toBe("22");
});

test("W12 fsync waits for the bucket; so does every write of a synchronous open", async () => {
  const volume = await writable();
  const { fs, bucket } = volume;
  const { open: opened } = await fs.create(ROOT, "a", 0o644, WRITE, caller());
  await fs.write(opened.handle, 0, Buffer.from("1"), KEEP, caller());
  await fs.fsync(opened.handle, false, caller());
  expect(await objects(bucket)).toEqual({ a: "1" });
  const sync = await open(volume, "a", { ...WRITE, sync: true });
  await fs.write(sync.handle, 1, Buffer.from("2"), KEEP, caller());
  expect(await objects(bucket)).toEqual({ a: "12" });
});

test("W12 fsync waits for attributes of an object that are on their way; so does fsync of its folder", async () => {
  const { fs, bucket } = await writable({ "dir/a": "text", "dir/b": "text" });
  const { nodeId } = await resolve(fs, "dir/a");
  await fs.setattr(nodeId, { mode: 0o600 }, caller());
  const file = await fs.open(nodeId, READ, caller());
  await fs.fsync(file.handle, false, caller());
  expect((await bucket.head("dir/a")).metadata).toMatchObject({ mode: String(0o100600) });
  await fs.release(file.handle);
  await fs.setattr((await resolve(fs, "dir/b")).nodeId, { mode: 0o600 }, caller());
  const folder = fs.opendir((await resolve(fs, "dir")).nodeId, caller());
  await fs.fsyncdir(folder.handle, false, caller());
  expect((await bucket.head("dir/b")).metadata).toMatchObject({ mode: String(0o100600) });
});

test("W12 fsync of a folder waits for its names", async () => {
  const { fs, bucket } = await writable({ "d/x": "1" });
  await put(fs, "d/y", "2");
  await mv(fs, "d/x", "d/z");
  const { handle } = fs.opendir((await resolve(fs, "d")).nodeId, caller());
  await fs.fsyncdir(handle, false, caller());
  expect(await objects(bucket)).toEqual({ "d/y": "2", "d/z": "1" });
});

test("a full staging area is no_space, and what is there stays", async () => {
  const volume = await writable({ a: "1" });
  const { fs, writeBack } = volume;
  writeBack.full = true;
  const { parent, name } = await locate(fs, "b");
  const refused = expect.objectContaining({ code: "no_space" });
  await expect(fs.create(parent, name, 0o644, WRITE, caller())).rejects.toEqual(refused);
  const { handle } = await open(volume, "a");
  await expect(fs.write(handle, 0, Buffer.from("2"), KEEP, caller())).rejects.toEqual(refused);
  await fs.release(handle);
  expect(await cat(fs, "a")).toBe("1");
  expect((await resolve(fs, "b")).nodeId).toBe(0);
});

test("copy_file_range copies between files, fallocate grows, lseek knows the end", async () => {
  const volume = await writable({ a: "0123456789" });
  const { fs } = volume;
  const from = await open(volume, "a", READ);
  const { open: to } = await fs.create(ROOT, "b", 0o644, READ_WRITE, caller());
  const target = { handle: to.handle, offset: 1 };
  expect(await fs.copyFileRange({ handle: from.handle, offset: 4 }, target, 100, caller())).toBe(6);
  expect(await readHandle(fs, to.handle)).toBe("\u0000456789");
  await fs.fallocate(to.handle, 0, 0, 9, caller());
  expect((await stat(fs, "b")).sizeBytes).toBe(9);
  expect(await fs.lseek(to.handle, 0, "hole", caller())).toBe(9);
  expect(await fs.lseek(from.handle, 3, "data", caller())).toBe(3);
  expect(() => fs.lseek(from.handle, 10, "data", caller())).toThrow();
});

test("handles that are not open for writing write nothing", async () => {
  const volume = await writable({ a: "1" });
  const { handle } = await open(volume, "a", READ);
  const refused = expect.objectContaining({ code: "bad_handle" });
  await expect(volume.fs.write(handle, 0, Buffer.from("2"), KEEP, caller())).rejects.toEqual(refused);
  expect(() => volume.fs.read(999, 0, 1, caller())).toThrow();
});

test("what an earlier mount left pending is shown and goes on", async () => {
  const first = await writable({ "d/moved": "m", gone: "g" });
  await put(first.fs, "d/new", "n");
  await mv(first.fs, "d/moved", "e");
  const pending = first.writeBack.find("d/new")!;
  const version = {
    key: "d/moved",
    etag: (await first.bucket.head("d/moved")).etag,
    sizeBytes: 1,
    mtimeMs: 5,
  };
  const second = await writable(
    { "d/moved": "m", gone: "g" },
    {
      before: (writeBack) => {
        writeBack.left.files.push({ file: pending, meta: pending.meta, base: pending.base });
        writeBack.left.items.push(
          { kind: "move", version, toKey: "e" },
          { kind: "remove", key: "gone" },
          { kind: "mark", key: "empty/", meta: {} },
        );
      },
    },
  );
  const names = async (path: string): Promise<string[]> =>
    (await list(second.fs, path === "" ? ROOT : (await resolve(second.fs, path)).nodeId)).map(
      ({ name }) => name,
    );
  expect((await names("")).sort()).toEqual(["d", "e", "empty"]);
  expect(await names("d")).toEqual(["new"]);
  expect(await cat(second.fs, "d/new")).toBe("n");
  expect(await cat(second.fs, "e")).toBe("m");
  expect((await resolve(second.fs, "gone")).nodeId).toBe(0);
});

test("W8 a folder that was moved before a crash is not shown again, though the bucket still has what was in it", async () => {
  const objectsNow = { "d/x/a": "1", "d/b": "2" };
  const versionOf = (key: string, etag: string) => ({ key, etag, sizeBytes: 1, mtimeMs: 5 });
  const { bucket } = await writable(objectsNow);
  const etags = await Promise.all(Object.keys(objectsNow).map(async (key) => (await bucket.head(key)).etag));
  const { fs } = await writable(objectsNow, {
    before: (writeBack) => {
      for (const [at, key] of Object.keys(objectsNow).entries())
        writeBack.left.items.push({
          kind: "move",
          version: versionOf(key, etags[at]!),
          toKey: `new/${key.slice(2)}`,
        });
      for (const key of ["d/", "d/x/"]) writeBack.left.items.push({ kind: "gone", key });
    },
  });
  expect((await list(fs)).map(({ name }) => name)).toEqual(["new"]);
  expect((await resolve(fs, "d")).nodeId).toBe(0);
  expect(await cat(fs, "new/x/a")).toBe("1");
  // The name is free.
  await put(fs, "d", "file");
  expect(await cat(fs, "d")).toBe("file");
});

test("W7 a read that is under way when its object has been moved goes on under the new name", async () => {
  const volume = await writable({ a: "content" });
  const { fs, bucket, writeBack } = volume;
  await mv(fs, "a", "b");
  const { handle } = await open(volume, "b", READ);
  const get = bucket.get.bind(bucket);
  let go = (): void => undefined;
  const held = new Promise<void>((resolveHeld) => (go = resolveHeld));
  vi.spyOn(bucket, "get").mockImplementationOnce(async (...request) => {
    await held;
    return await get(...request);
  });
  const text = readHandle(fs, handle);
  await writeBack.drain();
  go();
  expect(await text).toBe("content");
});

describe("W18 conflicts are told", () => {
  const lost = new HawserError("object_changed", "d/a is in recovered/x");

  test("by a flush of a path, of all below it, each time and after all is in the bucket", async () => {
    const { fs, bucket, writeBack } = await writable();
    await mkdir(fs, "d");
    await put(fs, "d/a", "1");
    writeBack.conflicts = lost;
    for (let times = 0; times < 2; times++) await expect(fs.flushBelow("d/")).rejects.toBe(lost);
    expect(await objects(bucket)).toMatchObject({ "d/a": "1" });
    const told = writeBack.asked.filter((asked) => asked.startsWith("tell"));
    expect(told).toEqual(["tellConflicts d/ standing", "tellConflicts d/ standing"]);
  });

  test("by an fsync of a folder, once, of all below it", async () => {
    const { fs, writeBack } = await writable({ "d/b": "2" });
    await put(fs, "d/a", "1");
    writeBack.conflicts = lost;
    const { handle } = fs.opendir((await resolve(fs, "d")).nodeId, caller());
    await expect(fs.fsyncdir(handle, false, caller())).rejects.toBe(lost);
    expect(writeBack.asked.at(-1)).toBe("tellConflicts d/ once");
    fs.releasedir(handle);
  });

  test("by an fsync of the file, of just its key", async () => {
    const volume = await writable({ a: "1" });
    const { handle } = await open(volume, "a");
    volume.writeBack.conflicts = lost;
    await expect(volume.fs.fsync(handle, false, caller())).rejects.toBe(lost);
    expect(volume.writeBack.asked.at(-1)).toBe("tellConflicts a exact");
    await volume.fs.release(handle);
  });

  test("with fsync: local by neither fsync", async () => {
    const volume = await writable({ "d/a": "1" }, { fsync: "local" });
    const { fs, writeBack } = volume;
    writeBack.conflicts = lost;
    const { handle } = await open(volume, "d/a");
    await fs.fsync(handle, false, caller());
    const folder = fs.opendir((await resolve(fs, "d")).nodeId, caller());
    await fs.fsyncdir(folder.handle, false, caller());
    expect(writeBack.asked.filter((asked) => asked.startsWith("tell"))).toEqual([]);
  });
});

test("refresh forgets what listings said, and tells the kernel", async () => {
  const { fs, bucket, kernel } = await writable({ "d/a": "1", x: "1" });
  const { nodeId } = await resolve(fs, "d/a");
  await put(fs, "d/p", "pending");
  bucket.seed("d/a", "22");
  bucket.seed("d/b", "3");
  expect((await resolve(fs, "d/b")).nodeId).toBe(0);
  await fs.refresh("d");
  expect(kernel.forgotten.length).toBeGreaterThanOrEqual(2);
  expect((await resolve(fs, "d/a")).nodeId).not.toBe(nodeId);
  expect(await cat(fs, "d/b")).toBe("3");
  expect(await cat(fs, "d/p")).toBe("pending");
  bucket.seed("x", "22");
  await resolve(fs, "x");
  await fs.refresh("x");
  expect(await cat(fs, "x")).toBe("22");
});

test("closing twice is closing once, and open files are let go", async () => {
  const volume = await writable({ a: "1" });
  await open(volume, "a", READ);
  await volume.fs.close();
  await volume.fs.close();
  expect(volume.content.open_).toBe(0);
  expect(volume.clock.timers).toBe(0);
});

test("a folder's listing tells pending files with their size", async () => {
  const { fs } = await writable();
  await put(fs, "a", "12345");
  const sink = new Sink(true);
  const { handle } = fs.opendir(ROOT, caller());
  await fs.readdir(handle, 0, sink, caller());
  await settle();
  const told = (await list(fs)).map(({ name, sizeBytes }) => `${name} ${sizeBytes}`);
  expect(told).toEqual(["a 5"]);
});
