/** What `hawser cache` does to a cache folder: list, clear, verify. */
import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { clearCache, listCache, verifyCache } from "../../../src/cache/cache-admin.ts";
import { MiB } from "../../../src/common/units.ts";
import { CacheFolders, VOLUME, fileOf, openCache, readWhole } from "./disk-support.ts";
import { version } from "./support.ts";

const folders = new CacheFolders();
afterEach(() => folders.clear());

test("what a power loss has left of a volume's name is still listed, and cleared", async () => {
  const folder = await folders.make();
  const { content, disk } = await openCache(folder);
  await readWhole(content, version("a", MiB));
  const { path } = disk.store!.place;
  await content.close();
  await writeFile(join(path, "volume.json"), "");
  expect(await listCache(folder)).toMatchObject([{ path, usedBytes: MiB, inUse: false }]);
  expect(await verifyCache(folder)).toMatchObject({ objects: 1, corrupt: [], unreadable: [] });
  expect(await clearCache(folder)).toMatchObject({ cleared: [{ usedBytes: MiB }], inUse: [] });
  expect(await listCache(folder)).toEqual([]);
});

test("verifying names files that are gone or cut short", async () => {
  const folder = await folders.make();
  const first = await openCache(folder);
  for (const key of ["gone", "short", "whole"]) await readWhole(first.content, version(key, MiB));
  await first.content.drain();
  const [gone, short] = [await fileOf(first, "gone"), await fileOf(first, "short")];
  await first.content.close();
  await rm(gone);
  await truncate(short, 1000);
  const { unreadable, ...rest } = await verifyCache(folder);
  expect(rest).toEqual({ objects: 1, bytes: MiB, corrupt: [] });
  expect(unreadable).toContainEqual({ volume: VOLUME, key: "gone", etag: "gone-1" });
  expect(unreadable).toContainEqual({ volume: VOLUME, key: "short", etag: "short-1" });
  expect(unreadable).toHaveLength(2);
});

test("listing, clearing and verifying work beside a mount", async () => {
  const folder = await folders.make();
  const { content, disk } = await openCache(folder);
  await readWhole(content, version("a/1", MiB));
  await readWhole(content, version("b/1", MiB));
  await content.drain();
  await disk.store!.index.flush();
  const [place] = await listCache(folder);
  expect(place).toMatchObject({ volume: VOLUME, inUse: true, usedBytes: 2 * MiB });
  expect(Object.fromEntries(place!.objects.map(({ key, complete }) => [key, complete]))).toEqual({
    "a/1": true,
    "b/1": true,
  });
  expect(await clearCache(folder)).toEqual({ cleared: [], inUse: [VOLUME] });
  expect(await verifyCache(folder)).toMatchObject({
    objects: 2,
    bytes: 2 * MiB,
    corrupt: [],
    unreadable: [],
  });
  expect(await content.evict({ prefix: "a/" })).toBe(MiB);
  await content.close();
  expect(await clearCache(folder)).toMatchObject({
    cleared: [{ volume: VOLUME, usedBytes: MiB }],
    inUse: [],
  });
  expect(await listCache(folder)).toEqual([]);
});
