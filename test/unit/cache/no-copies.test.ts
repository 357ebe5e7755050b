/** Content is handed on as it lies in the slab: to readers, to the disk, and back from it. */
import { afterEach, expect, test, vi } from "vitest";
import { native } from "../../../src/common/native.ts";
import { KiB, MiB } from "../../../src/common/units.ts";
import { CacheFolders, openCache, readWhole } from "./disk-support.ts";
import type { CacheFixture } from "./disk-support.ts";
import { version } from "./support.ts";

const folders = new CacheFolders();
afterEach(async () => {
  vi.restoreAllMocks();
  await folders.clear();
});

const objects = [version("small", 40 * KiB), version("large", 9 * MiB + 5)];

/** The buffers that the content of both objects lies in. */
async function buffersRead({ content }: CacheFixture): Promise<Set<ArrayBufferLike>> {
  const buffers = new Set<ArrayBufferLike>();
  for (const of of objects) {
    const open = content.open(of);
    for (let at = 0; at < of.sizeBytes; at += MiB) {
      // Once when it has to be fetched, and once when it is there.
      for (let turn = 0; turn < 2; turn++) {
        const span = await open.read(at, MiB);
        for (const chunk of span.chunks) buffers.add(chunk.buffer);
        span.release();
      }
    }
  }
  return buffers;
}

test("from the store to readers and to the disk, and from the disk to readers", async () => {
  const folder = await folders.make();
  const writeBlocks = vi.spyOn(native(), "writeBlocks");
  const createFiles = vi.spyOn(native(), "createFiles");
  const first = await openCache(folder);
  for (const buffer of await buffersRead(first)) expect(buffer).toBe(first.slab);
  await first.content.drain();
  const written = [
    ...writeBlocks.mock.calls.map(([, source]) => source),
    ...createFiles.mock.calls.flatMap(([, sources]) => sources),
  ];
  expect(written.reduce((sum, { length }) => sum + length, 0)).toBe(9 * MiB + 5 + 40 * KiB);
  for (const { buffer } of written) expect(buffer).toBe(first.slab);
  await first.content.close();

  const second = await openCache(folder);
  for (const of of objects) await readWhole(second.content, of);
  for (const buffer of await buffersRead(second)) expect(buffer).toBe(second.slab);
  expect(second.reader.sent).toEqual([]);
  await second.content.close();
});
