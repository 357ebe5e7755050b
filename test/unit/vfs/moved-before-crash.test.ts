/** An object that was being moved when the process ended, as the next mount shows it and lets it be changed. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ObjectStore } from "../../../src/store/object-store.ts";
import type { WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { Harness, PART, bytesOf } from "../writeback/harness.ts";
import { caller, resolve } from "./support.ts";
import { cat, filesystemOver, metadataOf, mv, READ_WRITE, writable } from "./writable-support.ts";

let h: Harness;
let fs: WritableFilesystem | undefined;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await fs?.close();
  fs = undefined;
  await h.end();
});

const CONTENT = bytesOf(PART + 100);

/** An object in parts: a copy of it has another ETag. */
async function putInParts(store: ObjectStore, key: string): Promise<void> {
  const { uploadId } = await store.createMultipart(key, {
    metadata: { mode: String(0o100600), of: "others" },
  });
  const parts = [
    await store.uploadPart(key, uploadId, 1, CONTENT.subarray(0, PART)),
    await store.uploadPart(key, uploadId, 2, CONTENT.subarray(PART)),
  ];
  await store.completeMultipart(key, uploadId, parts);
}

/** What a program that opens a file and writes into it asks. */
async function change(volume: WritableFilesystem, path: string): Promise<void> {
  const { nodeId } = await resolve(volume, path);
  const { handle } = await volume.open(nodeId, READ_WRITE, caller());
  await volume.write(handle, 10, Buffer.from("changed"), { killSuidGid: false }, caller());
  await volume.flush(handle, 0n, caller());
  await volume.release(handle);
}

function changed(): Buffer {
  const bytes = Buffer.from(CONTENT);
  bytes.write("changed", 10);
  return bytes;
}

test("W8 it is found and changed, though the move went on before there was a filesystem to hear of it", async () => {
  await putInParts(h.store, "large");
  const before = await filesystemOver(h);
  const goOn = h.store.faults.hang({ method: "copy" });
  await mv(before, "large", "previous");
  await h.crashAndOpen();
  // The copy has been asked for again.
  await h.until(() => h.store.faults.hits.length === 2);
  fs = await filesystemOver(h);
  goOn();
  await h.until(() => h.wb.status().items === 0);
  await change(fs, "previous");
  await fs.flushBelow("");
  expect(Buffer.compare(h.store.peek("previous")!, changed())).toBe(0);
  expect((await h.store.head("previous")).metadata).toMatchObject({ mode: String(0o100600), of: "others" });
  expect(h.store.peek("large")).toBeUndefined();
});

test("W9 what others gave it stays when the move is done while it is asked", async () => {
  const { fs: volume, bucket, writeBack } = await writable({}, { metadata: "listing" });
  await putInParts(bucket, "large");
  await mv(volume, "large", "previous");
  const head = bucket.head.bind(bucket);
  vi.spyOn(bucket, "head").mockImplementationOnce(async (...asked) => {
    const info = await head(...asked);
    await writeBack.drain();
    return info;
  });
  await change(volume, "previous");
  await volume.flushBelow("");
  expect(await metadataOf(bucket, "previous")).toMatchObject({ mode: String(0o100600), of: "others" });
});

test("R7 it is seen to be changed by others once it has arrived, also when the copy was made before the crash", async () => {
  h.store.seed("a", "content");
  const before = await filesystemOver(h);
  const goOn = h.store.faults.hang({ method: "delete" });
  await mv(before, "a", "b");
  await h.until(() => h.store.faults.hits.length === 1);
  await h.crashAndOpen();
  fs = await filesystemOver(h);
  expect(await cat(fs, "b")).toBe("content");
  goOn();
  await h.until(() => h.wb.status().items === 0);
  h.store.seed("b", "of somebody else");
  h.clock.advance(61_000);
  expect(await cat(fs, "b")).toBe("of somebody else");
});
