/** fsync: what it waits for. */
import { expect, test } from "vitest";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { caller, READ, resolve } from "./support.ts";
import { KEEP, mv, objects, open, put, writable, WRITE } from "./writable-support.ts";

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
