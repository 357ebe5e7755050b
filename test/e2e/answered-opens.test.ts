/** Files that the daemon need not be asked for: cached whole, opened again and again, changed and evicted meanwhile. */
import { readFileSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { World, eventually } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

async function counter(mount: string, name: string): Promise<number> {
  return ((await world.status(mount))["counters"] as Record<string, number>)[name]!;
}

const opens = (mount: string): Promise<number> => counter(mount, "passthrough_opens_total");

/** Releases come when the kernel gets round to them. */
const nowOpen = (mount: string, count: number): Promise<void> =>
  eventually(`${count} files are open`, async () => (await counter(mount, "open_files")) === count);

const isPassthrough = async (mount: string): Promise<boolean> =>
  JSON.stringify(await world.status(mount)).includes('"passthrough":true');

/** Read until the kernel opens it without us, where it can. */
async function settled(mount: string, name: string, content: string): Promise<void> {
  if (!(await isPassthrough(mount))) return;
  await eventually("the kernel reads the cached file", async () => {
    const before = await opens(mount);
    expect(await readFile(join(mount, name), "utf8")).toBe(content);
    return (await opens(mount)) > before;
  });
  expect(await readFile(join(mount, name), "utf8")).toBe(content);
}

test("a cached file is read again and again, and is a new one after it has changed in the bucket", async () => {
  await world.put("a", "first");
  await world.put("b", "stays");
  const mount = await world.mount(["--read-only", "--cache-dir", await world.mountPoint("cache")]);
  await settled(mount, "a", "first");
  await settled(mount, "b", "stays");
  const before = await opens(mount);
  for (let i = 0; i < 20; i++) expect(readFileSync(join(mount, "a"), "utf8")).toBe("first");
  expect((await opens(mount)) - before).toBe((await isPassthrough(mount)) ? 20 : 0);
  await nowOpen(mount, 0);
  const old = await open(join(mount, "a"));
  await nowOpen(mount, 1);
  await world.put("a", "second");
  expect(await world.hawser(["refresh", mount])).toMatchObject({ code: 0 });
  expect(await readFile(join(mount, "a"), "utf8")).toBe("second");
  expect(await readFile(join(mount, "b"), "utf8")).toBe("stays");
  // Who has the old one open goes on reading it.
  expect((await old.readFile()).toString()).toBe("first");
  await old.close();
  await settled(mount, "a", "second");
  await nowOpen(mount, 0);
});

test("a cached file that is evicted is fetched again, but not while it is open", async () => {
  await world.put("a", "content");
  const mount = await world.mount(["--read-only", "--cache-dir", await world.mountPoint("cache")]);
  await settled(mount, "a", "content");
  const held = await open(join(mount, "a"));
  expect((await world.hawser(["warm", "--evict", join(mount, "a")])).code).toBe(0);
  expect(await counter(mount, "cache_disk_entries")).toBe(1);
  expect((await held.readFile()).toString()).toBe("content");
  await held.close();
  await eventually("it is evicted", async () => {
    await world.hawser(["warm", "--evict", join(mount, "a")]);
    return (await counter(mount, "cache_disk_entries")) === 0;
  });
  await settled(mount, "a", "content");
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
});
