/** Files that are changed while the objects they are of are still to be copied to their new names. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { Harness, PART, bytesOf } from "../writeback/harness.ts";
import { caller, READ, resolve } from "./support.ts";
import { filesystemOver, mv, READ_WRITE } from "./writable-support.ts";

let h: Harness;
let fs: WritableFilesystem;
beforeEach(async () => {
  h = await Harness.start();
  // In parts: a copy of it has another ETag.
  const { uploadId } = await h.store.createMultipart("large", { metadata: { of: "others" } });
  const parts = [
    await h.store.uploadPart("large", uploadId, 1, CONTENT.subarray(0, PART)),
    await h.store.uploadPart("large", uploadId, 2, CONTENT.subarray(PART)),
  ];
  await h.store.completeMultipart("large", uploadId, parts);
  fs = await filesystemOver(h);
});
afterEach(async () => {
  await fs.close();
  await h.end();
});

const CONTENT = bytesOf(PART + 100);
const CHANGED = Buffer.from(CONTENT);
CHANGED.write("changed", 10);

/** Opens a file for writing and writes into it. */
async function change(path: string): Promise<void> {
  const { nodeId } = await resolve(fs, path);
  const { handle } = await fs.open(nodeId, READ_WRITE, caller());
  await fs.write(handle, 10, Buffer.from("changed"), { killSuidGid: false }, caller());
  await fs.flush(handle, 0n, caller());
  await fs.release(handle);
}

async function read(path: string): Promise<Buffer> {
  const { nodeId } = await resolve(fs, path);
  const { handle } = await fs.open(nodeId, READ, caller());
  try {
    const reply = await fs.read(handle, 0, CONTENT.length, caller());
    return Buffer.concat(reply.chunks);
  } finally {
    await fs.release(handle);
  }
}

async function expectInBucket(key: string): Promise<void> {
  expect([...h.store.keys()]).toEqual([key]);
  expect(Buffer.compare(h.store.peek(key)!, CHANGED)).toBe(0);
  expect((await h.store.head(key)).metadata).toMatchObject({ of: "others" });
  expect(h.told.conflicts).toEqual([]);
}

test("a file that was just renamed is changed and read while the store does not answer the copy", async () => {
  const goOn = h.store.faults.hang({ method: "copy" });
  await mv(fs, "large", "moved");
  await change("moved");
  expect(Buffer.compare(await read("moved"), CHANGED)).toBe(0);
  expect(h.store.peek("moved")).toBeUndefined();
  goOn();
  await h.until(() => h.wb.status().items === 0 && h.wb.status().files.length === 0);
  await expectInBucket("moved");
});

test("its bytes are read from the copy once that is made, and when the copy is made in the middle of a read", async () => {
  const goOn = h.store.faults.hang({ method: "copy" });
  await mv(fs, "large", "moved");
  await change("moved");
  const readOn = h.store.faults.hang({ method: "get", key: "large" });
  const bytes = read("moved");
  await h.until(() => h.store.faults.hits.includes("get large"));
  goOn();
  await h.until(() => h.store.peek("large") === undefined);
  readOn();
  expect(Buffer.compare(await bytes, CHANGED)).toBe(0);
  await fs.flushBelow("");
  await expectInBucket("moved");
});

test.each([
  ["on", ["b", "c", "d"]],
  ["back and forth", ["b", "large", "b"]],
  ["back", ["b", "large"]],
])("a file that is renamed %s while nothing is copied is changed, and arrives", async (_how, names) => {
  const goOn = h.store.faults.hang({ method: "copy" });
  let at = "large";
  for (const name of names) {
    await mv(fs, at, name);
    at = name;
  }
  await change(at);
  expect(Buffer.compare(await read(at), CHANGED)).toBe(0);
  goOn();
  await fs.flushBelow("");
  await expectInBucket(at);
});

test("a file that is renamed on twice more before the first copy is made arrives unchanged", async () => {
  const goOn = h.store.faults.hang({ method: "copy" });
  await mv(fs, "large", "b");
  await mv(fs, "b", "c");
  await mv(fs, "c", "d");
  goOn();
  await fs.flushBelow("");
  expect([...h.store.keys()]).toEqual(["d"]);
  expect(Buffer.compare(await read("d"), CONTENT)).toBe(0);
});

test("what was changed meanwhile is renamed again, and arrives there", async () => {
  const goOn = h.store.faults.hang({ method: "copy" });
  await mv(fs, "large", "moved");
  await change("moved");
  await mv(fs, "moved", "further");
  expect(Buffer.compare(await read("further"), CHANGED)).toBe(0);
  goOn();
  await fs.flushBelow("");
  await expectInBucket("further");
});

test("a crash before the copy loses nothing of it", async () => {
  h.store.faults.hang({ method: "copy" });
  await mv(fs, "large", "moved");
  await change("moved");
  await h.crashAndOpen();
  fs = await filesystemOver(h);
  expect(Buffer.compare(await read("moved"), CHANGED)).toBe(0);
  h.store.faults.heal();
  await h.crashAndOpen();
  fs = await filesystemOver(h);
  await fs.flushBelow("");
  await expectInBucket("moved");
});
