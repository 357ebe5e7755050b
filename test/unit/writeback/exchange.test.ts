/** Files that take each other's places in the bucket, without a name that nobody gave. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness, PART, bytesOf } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

const META = { metadata: { mode: "33188" }, contentType: "text/plain" };

/** Exchanges what is under two keys: staged files where there are, else objects. */
async function exchange(first: string, second: string): Promise<StagedFile[]> {
  const side = async (from: string, to: string) => {
    const file = h.wb.find(from);
    const there = h.store.keys().includes(to) ? await h.version(to) : undefined;
    const base = there ? ({ kind: "version", etag: there.etag } as const) : ({ kind: "absent" } as const);
    return { file, version: file ? undefined : await h.version(from), meta: META, key: to, base };
  };
  return await h.wb.exchange([await side(first, second), await side(second, first)]);
}

/** Everything is in the bucket; no other key was there at any time. */
async function flushed(...keys: string[]): Promise<void> {
  let done = false;
  const seen = new Set<string>();
  const flush = h.wb.flush().finally(() => (done = true));
  await h.until(() => {
    for (const key of h.store.keys()) seen.add(key);
    return done;
  });
  await flush;
  expect([...seen].sort()).toEqual(keys);
  expect(h.wb.status()).toMatchObject({ files: [], items: 0, recovered: 0, stagingBytes: 0 });
  expect(await h.store.listMultiparts("")).toEqual([]);
}

test("W7 two objects: the larger is copied on the server, the smaller is sent", async () => {
  h.store.seed("a", "the larger of both");
  h.store.seed("b", "smaller");
  await exchange("a", "b");
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["smaller", "the larger of both"]);
  expect([h.count("copy"), h.count("put"), h.count("delete")]).toEqual([1, 1, 0]);
});

test("objects of several parts", async () => {
  const [one, two] = [bytesOf(2 * PART + 7, 1), bytesOf(PART + 3, 2)];
  h.store.seed("a", one);
  h.store.seed("b", two);
  await exchange("a", "b");
  await flushed("a", "b");
  expect([Buffer.compare(h.store.peek("a")!, two), Buffer.compare(h.store.peek("b")!, one)]).toEqual([0, 0]);
});

test("a crash after an exchange loses nothing of it", async () => {
  h.store.seed("a", "aa");
  h.store.seed("b", "bbb");
  const release = h.store.faults.hang({ method: "put" });
  await exchange("a", "b");
  await h.crashAndOpen();
  await h.crashAndOpen();
  release();
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["bbb", "aa"]);
});

test("a crash between the copy and the upload", async () => {
  h.store.seed("a", "aaaa");
  h.store.seed("b", "bb");
  const release = h.store.faults.hang({ method: "put" });
  await exchange("a", "b");
  await h.until(() => h.text("b") === "aaaa");
  await h.crashAndOpen();
  release();
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["bb", "aaaa"]);
});

test("exchanged twice, it is as it was", async () => {
  h.store.seed("a", "aa");
  h.store.seed("b", "bbb");
  await exchange("a", "b");
  await exchange("a", "b");
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["aa", "bbb"]);
});

test("three that wait for each other", async () => {
  for (const key of ["a", "b", "c"]) h.store.seed(key, key.repeat(3));
  await exchange("a", "b");
  await exchange("b", "c");
  await flushed("a", "b", "c");
  expect(["a", "b", "c"].map((key) => h.text(key))).toEqual(["bbb", "ccc", "aaa"]);
});

test("a pending file and an object", async () => {
  h.store.seed("b", "in the bucket");
  await h.write("a", "pending");
  await exchange("a", "b");
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["in the bucket", "pending"]);
});

test("two pending files, one of them being sent", async () => {
  await h.write("a", "first");
  const release = h.store.faults.hang({ method: "put" });
  await h.until(() => h.store.faults.hits.length === 1);
  await h.write("b", "second");
  await exchange("a", "b");
  release();
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["second", "first"]);
});

test("overlays of objects, each partly written", async () => {
  for (const key of ["a", "b"]) {
    h.store.seed(key, key.repeat(10));
    const file = await h.overlay(key);
    await file.write(2, Buffer.from("XX"));
    await h.closeFile(file);
  }
  await exchange("a", "b");
  await flushed("a", "b");
  expect([h.text("a"), h.text("b")]).toEqual(["bbXXbbbbbb", "aaXXaaaaaa"]);
});

test("files that are published and still open", async () => {
  for (const key of ["a", "b"]) {
    const file = await h.openNew(key);
    file.hold();
    await file.write(0, Buffer.from(key.repeat(4)));
    await h.closeFile(file);
  }
  const files = ["a", "b"].map((key) => h.wb.find(key)!);
  await h.wb.flush();
  await exchange("a", "b");
  await h.wb.flush();
  expect([h.text("a"), h.text("b")]).toEqual(["bbbb", "aaaa"]);
  for (const file of files) file.unhold();
});

test("what somebody else has put there meanwhile stays, and ours is kept", async () => {
  h.store.seed("a", "aa");
  h.store.seed("b", "bbb");
  const release = h.store.faults.hang({ method: "copy" });
  await exchange("a", "b");
  await h.until(() => h.store.faults.hits.length === 1);
  h.store.seed("b", "theirs");
  release();
  await h.until(() => h.told.conflicts.length === 2);
  expect([h.text("a"), h.text("b")]).toEqual(["aa", "theirs"]);
  expect(h.wb.status()).toMatchObject({ files: [], items: 0, recovered: 2 });
});
