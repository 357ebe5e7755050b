/** How a file of a writable volume is open: through its backing file, the page cache or us. */
import { expect, test } from "vitest";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { decideWritableOpen } from "../../../src/vfs/writable-open-policy.ts";
import type { WritableOpenInputs } from "../../../src/vfs/writable-open-policy.ts";
import { caller, list, READ } from "./support.ts";
import { KEEP, open, cat, objects, put, stat, TRUNCATE, writable, WRITE } from "./writable-support.ts";

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

test("handles that are not open for writing write nothing", async () => {
  const volume = await writable({ a: "1" });
  const { handle } = await open(volume, "a", READ);
  const refused = expect.objectContaining({ code: "bad_handle" });
  await expect(volume.fs.write(handle, 0, Buffer.from("2"), KEEP, caller())).rejects.toEqual(refused);
  expect(() => volume.fs.read(999, 0, 1, caller())).toThrow();
});
