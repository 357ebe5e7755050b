/** What a mount fetches and lists on its own: ahead of readers, and as often as the options say. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { World, eventually } from "./harness.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

function requests(operation: string): number {
  return world.s3.requests.of(operation).length;
}

describe("across files", () => {
  const FOLDERS = 10;
  const FILES = 30;
  const keys = Array.from(
    { length: FOLDERS * FILES },
    (_, i) => `set/${String(Math.floor(i / FILES)).padStart(3, "0")}/${String(i).padStart(4, "0")}`,
  );

  beforeEach(async () => {
    await Promise.all(keys.map((key, i) => world.put(key, Buffer.alloc(20_000, i))));
  });

  async function counters(path: string): Promise<Record<string, number>> {
    return (await world.status(path))["counters"] as Record<string, number>;
  }

  /** Requests for content, without those sent again because a busy machine was late to answer. */
  async function fetches(path: string): Promise<number> {
    const {
      store_requests_total = 0,
      store_hedges_total = 0,
      store_retries_total = 0,
    } = await counters(path);
    return store_requests_total - store_hedges_total - store_retries_total;
  }

  test("files read in listing order are there before they are opened, one request each", async () => {
    const path = await world.mount();
    for (const [i, key] of keys.entries())
      expect((await readFile(join(path, key))).equals(Buffer.alloc(20_000, i))).toBe(true);
    expect(await fetches(path)).toBe(keys.length);
    const { read_misses_total, prefetch_useful_bytes_total, prefetch_wasted_bytes_total } =
      await counters(path);
    expect(read_misses_total).toBeLessThan(keys.length / 3);
    expect(prefetch_useful_bytes_total).toBeGreaterThan((keys.length * 20_000) / 2);
    expect(prefetch_wasted_bytes_total).toBe(0);
  });

  test("a folder that is read at random is fetched whole, each file once", async () => {
    const path = await world.mount(["--cache-dir", await world.mountPoint("cache")]);
    // A stride that meets every file once, and never a neighbour.
    const shuffled = keys.map((_, i) => keys[(i * 97) % keys.length]!);
    for (const key of shuffled.slice(0, 100)) await readFile(join(path, key));
    await eventually("all files are fetched", () => requests("GetObject") >= keys.length);
    for (const key of shuffled) await readFile(join(path, key));
    expect(await fetches(path)).toBe(keys.length);
    expect(requests("ListObjectsV2")).toBeLessThan(12);
    expect(requests("HeadObject")).toBe(0);
  });

  test.each([[["--no-prefetch"]]])("%j: nothing is fetched that was not asked for", async (options) => {
    const path = await world.mount(options);
    for (const key of keys.slice(0, 100)) await readFile(join(path, key));
    expect(await fetches(path)).toBe(100);
    expect((await counters(path))["prefetched_bytes_total"]).toBe(0);
  });
});

describe("listings", () => {
  test("are believed for --metadata-ttl and asked for again afterwards", async () => {
    await world.put("a", "1");
    const path = await world.mount(["--metadata-ttl", "300ms"]);
    expect(await readdir(path)).toEqual(["a"]);
    await world.put("b", "2");
    await eventually("the new name is seen", async () => (await readdir(path)).includes("b"));
    expect(await readFile(join(path, "b"), "utf8")).toBe("2");
  });

  test("that are static are asked for once", async () => {
    await world.put("set/a", "1");
    const path = await world.mount(["--metadata-ttl", "static"]);
    expect(await readdir(join(path, "set"))).toEqual(["a"]);
    const lists = requests("ListObjectsV2");
    await world.put("set/b", "2");
    for (let i = 0; i < 5; i++) expect(await readdir(join(path, "set"))).toEqual(["a"]);
    expect(await readFile(join(path, "set/a"), "utf8")).toBe("1");
    await expect(readFile(join(path, "set/b"))).rejects.toMatchObject({ code: "ENOENT" });
    expect(requests("ListObjectsV2")).toBe(lists);
  });
});

test("reads that waited are told of in status and in the metrics, by what they waited for", async () => {
  const body = Buffer.alloc(300_000, 7);
  for (let i = 0; i < 10; i++) await world.put(`cold-${i}`, body);
  const options = ["--no-prefetch", "--cache-dir", await world.mountPoint("cache")];
  const path = await world.mount(options);
  const waited = async (reason: "store" | "disk"): Promise<{ inStatus: number; inMetrics: number }> => {
    const { waits } = (await world.status(path)) as {
      waits: { byReason: Record<string, { total: { reads: number }; counts: number[] }> };
    };
    const { total, counts } = waits.byReason[reason]!;
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(total.reads);
    const { stdout } = await world.hawser(["status", path, "--metrics"]);
    const line = stdout
      .split("\n")
      .find((each) => each.startsWith("hawser_read_wait_seconds_count{") && each.includes(`"${reason}"`));
    expect(line).toContain(`mount="${path}"`);
    return { inStatus: total.reads, inMetrics: Number(line!.split(" ").at(-1)) };
  };
  expect(await waited("store")).toEqual({ inStatus: 0, inMetrics: 0 });
  expect((await readFile(join(path, "cold-0"))).equals(body)).toBe(true);
  const { inStatus, inMetrics } = await waited("store");
  expect(inStatus).toBeGreaterThan(0);
  expect(inMetrics).toBe(inStatus);
  expect(await waited("disk")).toEqual({ inStatus: 0, inMetrics: 0 });
  // What people see is about the last minute.
  let next = 0;
  await eventually("the table tells of them", async () => {
    await readFile(join(path, `cold-${++next}`));
    return /reads? waited for S3 in the last/.test((await world.hawser(["status"])).stdout);
  });
});
