import { expect, test } from "vitest";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { caller, list, names, readText, resolve, volume, walk } from "./support.ts";

test("R1 keys appear as folders and files", async () => {
  const { fs } = volume({ "a.txt": "one", "dir/b.txt": "two", "dir/sub/c.txt": "three" });
  expect(await walk(fs)).toEqual(["a.txt", "dir/", "dir/b.txt", "dir/sub/", "dir/sub/c.txt"]);
  expect(await readText(fs, (await resolve(fs, "dir/sub/c.txt")).nodeId)).toBe("three");
});

test("after a folder is listed, lookups are answered at once and without a request", async () => {
  const { fs, bucket } = volume({ "dir/a": "1", "dir/b": "22" });
  const dir = await resolve(fs, "dir");
  await resolve(fs, "dir/a");
  const sent = bucket.lists.length;
  const found = fs.lookup(dir.nodeId, "b", caller());
  const missing = fs.lookup(dir.nodeId, "c", caller());
  expect(found).toMatchObject({ attributes: { sizeBytes: 2, type: "file" } });
  expect(missing).toMatchObject({ nodeId: 0 });
  expect(bucket.lists.length).toBe(sent);
  expect(bucket.heads).toEqual([]);
});

test("an epoch over small files costs no HEAD and few listings", async () => {
  const objects: Record<string, string> = {};
  for (let d = 0; d < 100; d++) for (let f = 0; f < 30; f++) objects[`train/c${d}/f${f}`] = "x";
  const { fs, bucket } = volume(objects, { prefix: "train" });
  for (const key of Object.keys(objects)) {
    const entry = await resolve(fs, key.slice("train/".length));
    expect(entry.nodeId).toBeGreaterThan(1);
  }
  expect(bucket.heads).toEqual([]);
  // The root, three folders one by one, and 3,000 keys in pages of a thousand.
  expect(bucket.lists.length).toBeLessThanOrEqual(1 + 3 + 4);
});

test("a flat folder's names come in listing order, each once, over pages of both sides", async () => {
  const objects: Record<string, string> = {};
  for (let i = 0; i < 2500; i++) objects[`f${String(i).padStart(5, "0")}`] = "x";
  const { fs } = volume(objects);
  expect(await names(fs, ROOT, { room: 7 })).toEqual(Object.keys(objects));
  expect((await list(fs, ROOT, { plus: false })).length).toBe(2500);
});
