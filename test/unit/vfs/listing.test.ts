/** Which requests are sent for what was asked, and when answers are believed. */
import { expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { caller, list, names, READ, readText, resolve, settle, Sink, volume } from "./support.ts";

function many(count: number, prefix = "f"): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`${prefix}${String(i).padStart(5, "0")}`, "x"]),
  );
}

test("R6 a folder is read before its listing has ended", async () => {
  const { fs, bucket } = volume(many(2500));
  bucket.hold((query) => query.continuationToken !== undefined);
  const { handle } = fs.opendir(ROOT, caller());
  const sink = new Sink(true);
  await fs.readdir(handle, 0, sink, caller());
  if (sink.entries.length === 2) await fs.readdir(handle, 2, sink, caller());
  // The last of a page may yet prove to be a folder's name.
  expect(sink.entries.length).toBe(2 + 999);
  expect(fs.lookup(ROOT, "f00500", caller())).toMatchObject({ attributes: { type: "file" } });
  expect(fs.lookup(ROOT, "f00500.idx", caller())).toMatchObject({ nodeId: 0 });
  const rest = fs.readdir(handle, sink.entries.at(-1)!.offset, sink, caller());
  await bucket.letOne();
  await rest;
  expect(sink.entries.length).toBe(2 + 1999);
  await bucket.letAll();
});

test("one name is asked for only when its folder's listing takes more than 30 ms", async () => {
  const { fs, bucket, clock } = volume({ "a-file": "1", z: "2" });
  bucket.hold();
  const entry = fs.lookup(ROOT, "a-file", caller());
  clock.advance(29);
  expect(bucket.waiting).toEqual([expect.objectContaining({ prefix: "", delimiter: "/" })]);
  clock.advance(1);
  expect(bucket.waiting.map((query) => query.prefix)).toEqual(["", "a-file"]);
  await bucket.letOne((query) => query.prefix === "a-file");
  expect(await entry).toMatchObject({ attributes: { sizeBytes: 1 } });
  expect(bucket.heads).toEqual([]);
  await bucket.letAll();
  expect(bucket.lists).toHaveLength(2);
});

test("one name is asked for at once when the first page went by without it", async () => {
  const { fs, bucket } = volume(many(5000));
  bucket.hold((query) => query.continuationToken !== undefined);
  expect(await fs.lookup(ROOT, "f04999", caller())).toMatchObject({ attributes: { type: "file" } });
  expect(bucket.lists.some((query) => query.prefix === "f04999" && (query.maxKeys ?? 1000) < 10)).toBe(true);
  await bucket.letAll();
});

test.each([
  [{ n: "1" }, "file"],
  [{ "n/x": "1" }, "directory"],
  [{ n: "1", "n/x": "2" }, "directory"],
  [{ n: "1", "n-1": "", "n-2": "", "n-3": "", "n-4": "", "n-5": "", "n/x": "2" }, "directory"],
  [{ n: "1", "n-1": "", "n-2": "", "n-3": "", "n-4": "", "n-5": "", n0: "2" }, "file"],
  [{ "n-1": "", n0: "2" }, "nothing"],
])("one name asked for by itself in %j is a %s", async (objects, type) => {
  const { fs, bucket, clock } = volume(objects);
  bucket.hold((query) => query.prefix === "");
  const lookup = fs.lookup(ROOT, "n", caller());
  clock.advance(30);
  await settle();
  const entry = await lookup;
  expect(entry.nodeId === 0 ? "nothing" : entry.attributes.type).toBe(type);
  await bucket.letAll();
});

test("questions for one name share the request", async () => {
  const { fs, bucket, clock } = volume({ a: "1" });
  bucket.hold();
  const lookups = [1, 2, 3].map(async () => fs.lookup(ROOT, "a", caller()));
  clock.advance(30);
  expect(bucket.waiting).toHaveLength(2);
  await bucket.letOne((query) => query.prefix === "a");
  const entries = await Promise.all(lookups);
  expect(new Set(entries.map((entry) => entry.nodeId)).size).toBe(1);
  await bucket.letAll();
});

test("a huge folder is not listed to its end for one name", async () => {
  const { fs, bucket } = volume(many(3000));
  bucket.pageKeys = 10;
  await fs.lookup(ROOT, "f00003", caller());
  await settle();
  await settle();
  // Of 300 pages: what one question allows, and the ends of ranges that were listed beside.
  expect(bucket.lists.length).toBeLessThan(26);
  expect(await names(fs)).toHaveLength(3000);
});

test("a subtree much larger than its use is given up", async () => {
  const objects: Record<string, string> = {};
  for (let d = 0; d < 200; d++)
    for (let f = 0; f < 20; f++) objects[`d${String(d).padStart(3, "0")}/f${f}`] = "x";
  const { fs, bucket } = volume(objects);
  bucket.pageKeys = 20;
  for (const d of ["d000", "d001", "d002", "d003"]) await resolve(fs, `${d}/f1`);
  await settle();
  await settle();
  // Of 200 pages: those that were waited for, and what one demand allows beyond.
  expect(bucket.lists.filter((query) => query.delimiter === undefined).length).toBeLessThan(32);
});

test("R7 changes are seen after the metadata's lifetime, and the kernel is told for how long to believe", async () => {
  const { fs, bucket, clock } = volume({ a: "old" }, { metadataTtlMs: 60_000 });
  const before = await resolve(fs, "a");
  expect(before.entryTtlMs).toBe(60_000);
  await bucket.put("a", Buffer.from("newer"));
  await bucket.put("b", Buffer.from("b"));
  clock.advance(20_000);
  expect(fs.lookup(ROOT, "a", caller())).toMatchObject({ nodeId: before.nodeId, entryTtlMs: 40_000 });
  expect(fs.lookup(ROOT, "b", caller())).toMatchObject({ nodeId: 0, entryTtlMs: 40_000 });
  clock.advance(40_000);
  const after = await resolve(fs, "a");
  expect(after).toMatchObject({ attributes: { sizeBytes: 5, ino: before.attributes.ino } });
  expect(after.nodeId).not.toBe(before.nodeId);
  expect(await resolve(fs, "b")).toMatchObject({ attributes: { sizeBytes: 1 } });
});

test("R7 static metadata is listed once", async () => {
  const { fs, bucket, clock } = volume({ a: "1" }, { metadataTtlMs: Infinity });
  const entry = await resolve(fs, "a");
  expect(Number.isFinite(entry.entryTtlMs)).toBe(true);
  clock.advance(1e9);
  await resolve(fs, "a");
  await resolve(fs, "nothing");
  expect(bucket.lists).toHaveLength(1);
});

test("R8 an unchanged file keeps its node id over refreshes, a changed one gets another", async () => {
  const { fs, bucket, clock } = volume({ "d/same": "1", "d/other": "2", "d/gone": "3" });
  const ids = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      (await list(fs, (await resolve(fs, "d")).nodeId)).map((entry) => [entry.name, entry.nodeId!]),
    );
  const before = await ids();
  await bucket.put("d/other", Buffer.from("3"));
  await bucket.put("d/same", Buffer.from("1"));
  await bucket.delete("d/gone");
  clock.advance(61_000);
  const after = await ids();
  expect(after["same"]).toBe(before["same"]);
  expect(after["other"]).not.toBe(before["other"]);
  expect(Object.keys(after)).toEqual(["other", "same"]);
});

test("R9 opening a replaced version is stale, and the next lookup finds the new one", async () => {
  const { fs, bucket, clock } = volume({ a: "old" });
  const before = await resolve(fs, "a");
  await bucket.put("a", Buffer.from("new"));
  clock.advance(61_000);
  const after = await resolve(fs, "a");
  expect(() => fs.open(before.nodeId, READ, caller())).toThrow(expect.objectContaining({ code: "stale" }));
  expect(await readText(fs, after.nodeId)).toBe("new");
  expect(fs.getattr(before.nodeId)).toMatchObject({ attributes: { nlink: 0 } });
  fs.forget(before.nodeId, 1);
  expect(fs.counts().replacedVersions).toBe(0);
  expect(() => fs.getattr(before.nodeId)).toThrow(expect.objectContaining({ code: "stale" }));
});

test("R10 a reader of a replaced object gets its version or ESTALE, and opening again finds the new one at once", async () => {
  const { fs, bucket } = volume({ a: "old" });
  const entry = await resolve(fs, "a");
  const { handle } = await fs.open(entry.nodeId, READ, caller());
  await bucket.put("a", Buffer.from("new"));
  await expect(fs.read(handle, 0, 10, caller())).rejects.toMatchObject({ code: "stale" });
  expect(() => fs.open(entry.nodeId, READ, caller())).toThrow(expect.objectContaining({ code: "stale" }));
  // Well within the lifetime of the listing that told of the old version.
  expect(await readText(fs, (await resolve(fs, "a")).nodeId)).toBe("new");
});

test("R10 a deleted object is stale to its reader, and then gone", async () => {
  const { fs, bucket } = volume({ a: "old", b: "2" });
  const entry = await resolve(fs, "a");
  const { handle } = await fs.open(entry.nodeId, READ, caller());
  await bucket.delete("a");
  await expect(fs.read(handle, 0, 10, caller())).rejects.toMatchObject({ code: "stale" });
  expect(await resolve(fs, "a")).toMatchObject({ nodeId: 0 });
  expect(await names(fs)).toEqual(["b"]);
});

test.each(["access_denied", "bucket_not_found", "credentials_expired"] as const)(
  "R11 %s is an error and never an absence, with one request for many names",
  async (code) => {
    const { fs, bucket, clock } = volume({ a: "1" });
    bucket.failure = new HawserError(code, "no");
    await expect(resolve(fs, "a")).rejects.toMatchObject({ code });
    await expect(resolve(fs, "b")).rejects.toMatchObject({ code });
    expect(() => fs.opendir(ROOT, caller())).toThrow(expect.objectContaining({ code }));
    expect(bucket.lists).toHaveLength(1);
    bucket.failure = undefined;
    clock.advance(1001);
    expect(await resolve(fs, "a")).toMatchObject({ attributes: { sizeBytes: 1 } });
  },
);

test("R11 a listing that answers 'not found' is an I/O error", async () => {
  const { fs, bucket } = volume({ a: "1" });
  bucket.failure = new HawserError("not_found", "what?");
  await expect(resolve(fs, "a")).rejects.toMatchObject({ code: "io_error" });
});

test("R14 while the store cannot be reached a known folder is served as it was, for a bounded time", async () => {
  const { fs, bucket, clock } = volume({ a: "1" }, { metadataTtlMs: 1000, staleForMs: 60_000 });
  const before = await resolve(fs, "a");
  bucket.failure = new HawserError("endpoint_unreachable", "down");
  clock.advance(2000);
  const served = await resolve(fs, "a");
  expect(served.nodeId).toBe(before.nodeId);
  expect(served.entryTtlMs).toBeLessThanOrEqual(5000);
  expect(await names(fs)).toEqual(["a"]);
  clock.advance(60_000);
  await expect(resolve(fs, "a")).rejects.toMatchObject({ code: "endpoint_unreachable" });
});

test("R14 a failure that is an answer of the store is not bridged", async () => {
  const { fs, bucket, clock } = volume({ a: "1" });
  await resolve(fs, "a");
  bucket.failure = new HawserError("access_denied", "no");
  clock.advance(61_000);
  await expect(resolve(fs, "a")).rejects.toMatchObject({ code: "access_denied" });
});

test("a caller that is killed while it waits is let go", async () => {
  const { fs, bucket } = volume({ "d/a": "1" });
  bucket.hold();
  const killed = new AbortController();
  const lookup = fs.lookup(ROOT, "d", caller(killed.signal));
  const { handle } = fs.opendir(ROOT, caller());
  const readdir = Promise.resolve(fs.readdir(handle, 2, new Sink(true), caller(killed.signal)));
  killed.abort();
  await expect(lookup).rejects.toMatchObject({ code: "interrupted" });
  await expect(readdir).rejects.toMatchObject({ code: "interrupted" });
  await bucket.letAll();
  expect(await resolve(fs, "d/a")).toMatchObject({ attributes: { sizeBytes: 1 } });
});

test("closing lets everybody go, twice", async () => {
  const { fs, bucket, clock } = volume({ a: "1" });
  bucket.hold();
  const lookup = fs.lookup(ROOT, "a", caller());
  await Promise.all([fs.close(), expect(lookup).rejects.toMatchObject({ code: "closed" })]);
  await fs.close();
  expect(clock.timers).toBe(0);
});

test("a store that lists out of order loses speed and nothing else", async () => {
  const objects: Record<string, string> = {};
  for (let d = 0; d < 8; d++) for (const name of ["a", "a-1", "b"]) objects[`d${d}/${name}`] = "x";
  const { fs, bucket } = volume(objects);
  const sorted = bucket.list.bind(bucket);
  bucket.list = async (...args) => {
    const page = await sorted(...args);
    page.objects.reverse();
    return page;
  };
  for (let d = 0; d < 8; d++) {
    expect((await names(fs, (await resolve(fs, `d${d}`)).nodeId)).sort()).toEqual(["a", "a-1", "b"]);
  }
});

test("a store that repeats itself is an error", async () => {
  const { fs, bucket } = volume({ a: "1" });
  bucket.list = async () => ({ objects: [], prefixes: [], nextToken: "again" });
  await expect(names(fs)).rejects.toMatchObject({ code: "store_failed" });
});
