/** Cache files that the kernel holds: between opens, at rest, after a restart, and when they have to go. */
import { rm } from "node:fs/promises";
import { afterEach, expect, test, vi } from "vitest";
import { KiB, MiB } from "../../../src/common/units.ts";
import { CacheFolders, fileOf, openCache, readAndCompare, readWhole } from "./disk-support.ts";
import { version } from "./support.ts";
import { BackingFiles } from "../../support/backing-kernel.ts";

const folders = new CacheFolders();
afterEach(() => folders.clear());

test("a file stays registered with the kernel between opens, until it is evicted", async () => {
  const folder = await folders.make();
  const of = version("a", 3 * MiB);
  const own = new BackingFiles();
  const { content } = await openCache(folder);
  await readWhole(content, of);
  await content.drain();
  const first = (await content.open(of).backing(own))!;
  const second = (await content.open(of).backing(own))!;
  expect(second.backingId).toBe(first.backingId);
  first.release();
  second.release();
  const third = (await content.open(of).backing(own))!;
  expect(third.backingId).toBe(first.backingId);
  expect(own.open.size).toBe(1);
  third.release();
  // Known to the kernel from here on as soon as it is complete.
  const small = version("small", 1000);
  await readWhole(content, small);
  await content.drain();
  expect(own.open.size).toBe(2);
  expect(await content.evict(of)).toBeGreaterThan(0);
  expect(own.open.size).toBe(1);
  await content.close();
  expect(own.open.size).toBe(0);
});

test("a file at rest is evicted when nobody has used it, and never while it is open", async () => {
  const folder = await folders.make();
  const own = new BackingFiles();
  const { content, disk } = await openCache(folder, { cacheSizeBytes: 4 * MiB, slabBytes: 8 * MiB });
  const uses = new Map<string, "open" | "used" | "unused">();
  const wanted: string[] = [];
  const rest = async (name: string, use: "open" | "used" | "unused"): Promise<void> => {
    await readWhole(content, version(name, MiB));
    await content.drain();
    const backing = (await content.open(version(name, MiB)).backing(own))!;
    uses.set(name, use);
    backing.rest({
      use: () => {
        const now = uses.get(name)!;
        if (now === "used") uses.set(name, "unused");
        return now;
      },
      wanted: () => {
        wanted.push(name);
        backing.release();
      },
    });
  };
  await rest("open", "open");
  await rest("used", "used");
  await rest("unused", "unused");
  await rest("later", "unused");
  expect(await content.evict(version("open", MiB))).toBe(0);
  await readWhole(content, version("more", MiB));
  await content.drain();
  expect(wanted).toEqual(["unused"]);
  await readWhole(content, version("still more", MiB));
  await content.drain();
  expect(wanted).toEqual(["unused", "later"]);
  // All that is left is open or was used just now; who was only used goes.
  uses.set("used", "used");
  await content.evict(version("more", MiB));
  await content.evict(version("still more", MiB));
  await readWhole(content, version("large", 3 * MiB));
  await content.drain();
  expect(wanted).toEqual(["unused", "later", "used"]);
  await vi.waitFor(() => expect(disk.stats()!.usedBytes).toBeLessThanOrEqual(4 * MiB));
  uses.set("open", "unused");
  await readWhole(content, version("last", 4 * MiB));
  await content.drain();
  expect(wanted).toEqual(["unused", "later", "used", "open"]);
  await content.close();
  expect(own.open.size).toBe(0);
});

test("a file that was given up while it was open does not come to rest", async () => {
  const folder = await folders.make();
  const own = new BackingFiles();
  const { content, disk } = await openCache(folder);
  const of = version("a", MiB);
  await readWhole(content, of);
  await content.drain();
  const backing = (await content.open(of).backing(own))!;
  await rm(folder, { recursive: true });
  disk.store!.remove(disk.store!.index.coldest(() => true)!);
  expect(own.open.size).toBe(1);
  backing.rest({ use: () => "unused", wanted: () => backing.release() });
  expect(own.open.size).toBe(0);
  await content.close();
});

test("after a restart an open lets files used before be registered ahead, those that may be torn or are gone left out", async () => {
  const folder = await folders.make();
  const first = await openCache(folder);
  const keys = Array.from({ length: 40 }, (_, i) => `o${i}`);
  for (const key of keys) await readWhole(first.content, version(key, 10 * KiB));
  await readAndCompare(first.content.open(version("partly", 3 * MiB)), 0, MiB);
  await first.content.drain();
  await rm(await fileOf(first, "o5"));
  await first.content.close();

  const own = new BackingFiles();
  const { content, reader } = await openCache(folder);
  const openNow = async (key: string): Promise<boolean> => {
    const opened = content.open(version(key, 10 * KiB));
    const found = opened.backing(own);
    const atOnce = !(found instanceof Promise);
    (await found)?.release();
    opened.close();
    return atOnce;
  };
  // Twice as many each time: four opens that came too early, and all are known. One of them is gone.
  let late = 0;
  for (const key of ["o0", "o1", "o2", "o3"]) {
    if (!(await openNow(key))) late++;
    const known = Math.min(39, 4 * (2 ** late - 1) - 1);
    await vi.waitFor(() => expect(own.open.size).toBeGreaterThanOrEqual(known), 30_000);
  }
  expect(late).toBeGreaterThan(0);
  await vi.waitFor(() => expect(own.open.size).toBe(39), 30_000);
  for (const key of keys) if (key !== "o5") expect(await openNow(key)).toBe(true);
  expect(own.open.size).toBe(39);
  expect(reader.sent).toEqual([]);
  await content.close();
  expect(own.open.size).toBe(0);
});
