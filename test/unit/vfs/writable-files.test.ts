/** Files of a writable volume: bytes, handles, and what closing them means. */
import { expect, test, vi } from "vitest";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { caller, list, READ, resolve, settle, Sink } from "./support.ts";
import {
  KEEP,
  open,
  cat,
  locate,
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
