/** The disk cache goes away in every way that it can; the mount goes on. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { KiB, MiB } from "../../../src/common/units.ts";
import { CacheFolders, openCache, readWhole } from "./disk-support.ts";
import { version } from "./support.ts";

const folders = new CacheFolders();
afterEach(() => folders.clear());

test("a folder deleted under way costs the cache only, is said once, and is used again later", async () => {
  const folder = await folders.make();
  const { content, disk, reader, clock, said } = await openCache(folder, { slabBytes: 8 * MiB });
  await readWhole(content, version("a", MiB));
  await content.drain();
  await rm(folder, { recursive: true });
  for (let i = 0; i < 5000 && disk.store !== undefined; i++) {
    await readWhole(content, version(`b${i}`, 40 * KiB));
    await content.drain();
  }
  expect(disk.store).toBeUndefined();
  await readWhole(content, version("c", 9 * MiB));
  expect(said).toHaveLength(1);
  clock.advance(31_000);
  await disk.idle();
  expect(disk.store).toBeDefined();
  await readWhole(content, version("d", MiB));
  await content.drain();
  await content.close();
  const again = await openCache(folder);
  await readWhole(again.content, version("d", MiB));
  expect(again.reader.sent).toEqual([]);
  expect(reader.sent.length).toBeGreaterThan(2);
  await again.content.close();
});

test("a clock that jumps changes nothing", async () => {
  const folder = await folders.make();
  const { content, clock } = await openCache(folder);
  await readWhole(content, version("a", MiB));
  clock.wall -= 10 * 365 * 86_400_000;
  await readWhole(content, version("b", MiB));
  clock.wall += 40 * 365 * 86_400_000;
  await readWhole(content, version("a", MiB));
  await content.close();
  const again = await openCache(folder);
  again.clock.wall = 0;
  await readWhole(again.content, version("a", MiB));
  await readWhole(again.content, version("b", MiB));
  expect(again.reader.sent).toEqual([]);
  await again.content.close();
});

// Mounting a file system of a few megabytes takes root.
describe.runIf(process.getuid?.() === 0)("on a small file system", () => {
  const mounts: string[] = [];

  async function smallDisk(megabytes: number): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), "hawser-small-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path]);
    mounts.push(path);
    return path;
  }

  afterEach(async () => {
    for (const path of mounts.splice(0)) {
      execFileSync("umount", ["-l", path]);
      await rmdir(path);
    }
  });

  test("a full disk makes the cache smaller, not the reads wrong", async () => {
    const path = await smallDisk(6);
    const { content, disk, said } = await openCache(path, { slabBytes: 16 * MiB });
    for (let i = 0; i < 30; i++) {
      await readWhole(content, version(`o${i}`, MiB));
      await content.drain();
    }
    expect(disk.stats()!.usedBytes).toBeLessThanOrEqual(6 * MiB);
    expect(disk.stats()!.evictedFiles).toBeGreaterThan(10);
    expect(disk.find("nothing")).toBeUndefined();
    expect(said).toEqual([]);
    await content.close();
    const again = await openCache(path);
    await readWhole(again.content, version("o29", MiB));
    expect(again.disk.stats()!.entries).toBeGreaterThan(0);
    await again.content.close();
  });

  test("keepFree leaves room, and gives way when others write", async () => {
    const path = await smallDisk(16);
    const folder = join(path, "cache");
    const { content, disk, clock } = await openCache(folder, { keepFreeBytes: 4 * MiB });
    for (let i = 0; i < 20; i++) {
      await readWhole(content, version(`o${i}`, MiB));
      await content.drain();
      clock.advance(2000);
      await disk.store!.trim();
    }
    await vi.waitFor(() => expect(disk.stats()!.usedBytes).toBeLessThanOrEqual(12 * MiB), 30_000);
    expect(disk.stats()!.usedBytes).toBeGreaterThan(8 * MiB);
    await writeFile(join(path, "others"), Buffer.alloc(3.5 * MiB));
    await vi.waitFor(async () => {
      clock.advance(6000);
      await disk.idle();
      expect(disk.stats()!.usedBytes).toBeLessThanOrEqual(8.5 * MiB);
    }, 30_000);
    await content.close();
  });

  test("a disk that turns read-only is left alone until it can be written again", async () => {
    const path = await smallDisk(32);
    const { content, disk, clock, said } = await openCache(path, { slabBytes: 8 * MiB });
    await readWhole(content, version("a", MiB));
    await content.drain();
    // Files that are open for writing forbid a remount, but not a read-only view in front.
    execFileSync("mount", ["--bind", path, path]);
    execFileSync("mount", ["-o", "remount,bind,ro", path]);
    await readWhole(content, version("b", 2 * MiB));
    await content.drain();
    await readWhole(content, version("a", MiB));
    expect(disk.store).toBeUndefined();
    expect(said).toHaveLength(1);
    execFileSync("umount", ["-l", path]);
    clock.advance(31_000);
    await disk.idle();
    expect(disk.store).toBeDefined();
    await readWhole(content, version("c", MiB));
    await content.close();
  });

  test("a folder that cannot be written from the start is tried again later", async () => {
    const path = await smallDisk(8);
    await mkdir(join(path, "cache"));
    execFileSync("mount", ["-o", "remount,ro,size=8m", path]);
    const { content, disk, clock, said } = await openCache(join(path, "cache"));
    expect(disk.store).toBeUndefined();
    await readWhole(content, version("a", MiB));
    expect(said).toHaveLength(1);
    execFileSync("mount", ["-o", "remount,rw,size=8m", path]);
    clock.advance(31_000);
    await disk.idle();
    await readWhole(content, version("b", MiB));
    await content.drain();
    expect(disk.stats()!.entries).toBe(1);
    expect(await readdir(path)).toEqual(["cache"]);
    await content.close();
  });
});
