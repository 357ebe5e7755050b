import { expect, test } from "vitest";
import type { FolderVersions } from "../../../src/cache/neighbours.ts";
import { names, resolve, settle, volume } from "./support.ts";
import type { TestVolume } from "./support.ts";

/** `folders` folders of `files` files each below `set/`, each file as long as its number. */
function bucketOf(folders: number, files: number): Record<string, string> {
  const objects: Record<string, string> = {};
  for (let i = 0; i < folders * files; i++) {
    const folder = String(Math.floor(i / files)).padStart(3, "0");
    objects[`set/${folder}/${String(i).padStart(5, "0")}`] = "x".repeat(i);
  }
  return objects;
}

const keysAfter = ({ fs }: TestVolume, key: string, limit: number): string[] =>
  fs.neighbours.after(key, limit).map((version) => version.key);

async function keysOf(folder: FolderVersions | undefined): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of folder!.versions()) keys.push(key);
  return keys;
}

test("what follows a file is told across folders, as far as they were listed, without a request", async () => {
  const tested = volume(bucketOf(4, 3));
  await names(tested.fs, (await resolve(tested.fs, "set/000")).nodeId);
  await names(tested.fs, (await resolve(tested.fs, "set/001")).nodeId);
  const lists = tested.bucket.lists.length;
  expect(keysAfter(tested, "set/000/00001", 2)).toEqual(["set/000/00002", "set/001/00003"]);
  expect(keysAfter(tested, "set/000/00001", 100)).toEqual([
    "set/000/00002",
    "set/001/00003",
    "set/001/00004",
    "set/001/00005",
  ]);
  expect(keysAfter(tested, "set/000/unknown", 5)).toEqual([]);
  expect(keysAfter(tested, "elsewhere", 5)).toEqual([]);
  expect(tested.bucket.lists).toHaveLength(lists);
});

test("versions have what is needed to fetch them", async () => {
  const { fs, bucket } = volume({ "data/a": "one", "data/b": "three" }, { prefix: "data" });
  await names(fs);
  const { etag, sizeBytes } = await bucket.head("data/b");
  const [next] = fs.neighbours.after("data/a", 1);
  expect(next).toMatchObject({ key: "data/b", etag, sizeBytes });
});

test("empty folders are passed over, and an outdated listing tells nothing", async () => {
  const tested = volume({ "a/1": "1", "b/": "", "c/2": "2" }, { metadataTtlMs: 1000 });
  for (const folder of ["a", "b", "c"]) await names(tested.fs, (await resolve(tested.fs, folder)).nodeId);
  expect(keysAfter(tested, "a/1", 5)).toEqual(["c/2"]);
  tested.clock.advance(1001);
  expect(keysAfter(tested, "a/1", 5)).toEqual([]);
});

test("a folder is told whole, and listed for it where that is missing: one request a page", async () => {
  const tested = volume(bucketOf(40, 5));
  await resolve(tested.fs, "set/000");
  const lists = tested.bucket.lists.length;
  const folder = await tested.fs.neighbours.folder("set/");
  expect(folder).toMatchObject({ count: 200, totalBytes: (199 * 200) / 2 });
  expect(await keysOf(folder)).toEqual(Object.keys(bucketOf(40, 5)));
  expect(tested.bucket.lists.length - lists).toBe(1);
  expect(await tested.fs.neighbours.folder("set/")).toMatchObject({ count: 200 });
  expect(tested.bucket.lists.length - lists).toBe(1);
});

test("the volume's root is a folder like others; what is none is not", async () => {
  const { fs } = volume({ "data/a": "1", "data/b/c": "2" }, { prefix: "data" });
  await names(fs);
  expect(await keysOf(await fs.neighbours.folder("data/"))).toEqual(["data/a", "data/b/c"]);
  expect(await fs.neighbours.folder("data/a/")).toBeUndefined();
  expect(await fs.neighbours.folder("")).toBeUndefined();
  expect(await fs.neighbours.folder("data/nothing/")).toBeUndefined();
});

test("the listing of a folder that turns out too large ends early", async () => {
  const tested = volume(bucketOf(100, 20));
  tested.bucket.pageKeys = 100;
  await resolve(tested.fs, "set/000");
  const lists = tested.bucket.lists.length;
  // The first 100 files have 4,950 bytes, the first 200 have 19,900.
  expect(await tested.fs.neighbours.folder("set/", 10_000)).toBeUndefined();
  expect(tested.bucket.lists.length - lists).toBeLessThan(10);
});

test("a listing that is under way is joined, and its failure is the answer", async () => {
  const tested = volume(bucketOf(8, 2));
  await resolve(tested.fs, "set");
  tested.bucket.hold((query) => query.delimiter === undefined);
  const two = [tested.fs.neighbours.folder("set/"), tested.fs.neighbours.folder("set/")];
  await settle();
  await tested.bucket.letAll();
  expect((await Promise.all(two)).map((folder) => folder?.count)).toEqual([16, 16]);
  expect(tested.bucket.lists.filter(({ delimiter }) => delimiter === undefined)).toHaveLength(1);
});

test("who waits for a folder is told when the volume is closed", async () => {
  const tested = volume(bucketOf(8, 2));
  await resolve(tested.fs, "set");
  tested.bucket.hold();
  const folder = tested.fs.neighbours.folder("set/");
  await settle();
  await tested.fs.close();
  await expect(folder).rejects.toThrow();
});
