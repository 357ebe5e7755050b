import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { dropRecovered } from "../../../src/writeback/recovered.ts";
import { Harness, PART, bytesOf } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

describe("a new file", () => {
  test("reaches the bucket whole after it was closed, and is forgotten", async () => {
    const file = await h.write("run/a.txt", "hello");
    expect(h.wb.find("run/a.txt")).toBe(file);
    await h.wb.flush();
    expect(h.text("run/a.txt")).toBe("hello");
    expect(h.wb.find("run/a.txt")).toBeUndefined();
    expect(h.wb.status()).toMatchObject({ files: [], pendingBytes: 0, stagingBytes: 0, items: 0 });
    expect(h.told.published).toHaveLength(1);
  });

  test("carries its metadata, its time and its upload id", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("x"));
    await file.setTimes(1_700_000_000_123.456);
    await h.closeFile(file);
    await h.wb.flush();
    const info = await h.store.head("a");
    expect(info.contentType).toBe("text/plain");
    expect(info.metadata).toMatchObject({ mode: "33188", mtime: "1700000000.123456" });
    expect(info.metadata["hawser-upload"]).toMatch(/^[0-9a-f]+\.[0-9a-f]+\.1-1$/);
  });

  test("that gets its time in the very moment in which it is published has it in the bucket", async () => {
    let dated: Promise<void> | undefined;
    await h.crashAndOpen({
      faultPoint: (name) => {
        if (name === "published") dated ??= file.setTimes(1_700_000_000_123);
      },
    });
    const file = await h.write("a", "x");
    await h.until(() => dated !== undefined);
    await dated;
    await h.wb.flush();
    expect((await h.store.head("a")).metadata).toMatchObject({ mtime: "1700000000.123" });
    expect(h.wb.find("a")).toBeUndefined();
    expect(h.wb.status().stagingBytes).toBe(0);
  });

  test("is not published while it is open", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("half"));
    await file.flush();
    await h.wb.flush();
    expect(h.store.keys()).toEqual([]);
    file.releaseWrite();
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["a"]);
  });

  test("larger than a part goes up in parts", async () => {
    const content = bytesOf(2 * PART + 100);
    await h.write("big", content);
    await h.wb.flush();
    expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
    expect(h.count("uploadPart")).toBe(3);
    expect(await h.store.listMultiparts("")).toEqual([]);
  });

  test("waits 100 ms when it is small, so that a rename and a chmod fold into one PUT", async () => {
    const file = await h.write("a.tmp", "content");
    await h.wb.rekey([{ file, key: "a", base: { kind: "absent" } }]);
    await file.setMeta({ metadata: { mode: "33261" } });
    await h.until(() => h.told.published.length === 1);
    expect(h.store.keys()).toEqual(["a"]);
    expect((await h.store.head("a")).metadata["mode"]).toBe("33261");
    expect(h.count("put")).toBe(1);
    expect(h.count("copy")).toBe(0);
  });

  test("that waits to be sent takes a chmod and a time along, without a copy", async () => {
    const goOn = h.store.faults.hang({ method: "put", key: "large" });
    await h.write("large", bytesOf(1024 * 1024));
    const file = await h.write("small", "content");
    await h.until(() => h.wb.find("small")?.state === "uploading");
    await h.until(() => h.store.faults.hits.length === 1);
    await file.setMeta({ metadata: { mode: "33261" } });
    await file.setTimes(1_600_000_000_000);
    goOn();
    await h.wb.flush();
    expect((await h.store.head("small")).metadata).toMatchObject({ mode: "33261", mtime: "1600000000" });
    expect([h.count("put"), h.count("copy")]).toEqual([2, 0]);
  });

  test("that is large keeps a chmod that comes while its upload is being begun", async () => {
    const goOn = h.store.faults.hang({ method: "createMultipart" });
    const file = await h.write("big", bytesOf(PART + 1));
    await h.until(() => h.store.faults.hits.length === 1);
    await file.setMeta({ metadata: { mode: "33261" } });
    goOn();
    await h.wb.flush();
    expect((await h.store.head("big")).metadata["mode"]).toBe("33261");
  });

  test("that is empty is an empty object", async () => {
    const file = await h.openNew("empty");
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("empty")).toBe("");
  });

  test("that is dropped sends nothing", async () => {
    const file = await h.write("a", "x");
    await h.wb.drop(file);
    await h.wb.flush();
    expect(h.store.keys()).toEqual([]);
    expect(h.wb.status().stagingBytes).toBe(0);
  });
});

describe("opening again", () => {
  test("before the upload began publishes the last content only", async () => {
    const file = await h.write("a", "one");
    await file.openForWrite();
    await file.write(0, Buffer.from("two"));
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("a")).toBe("two");
    expect(h.count("put")).toBe(1);
  });

  test("while the PUT is under way makes its outcome the base", async () => {
    const release = h.store.faults.hang({ method: "put" });
    const file = await h.write("a", "one");
    await h.until(() => h.store.faults.hits.length === 1);
    await file.openForWrite();
    await file.write(0, Buffer.from("two"));
    release();
    await h.until(() => h.told.published.length === 1);
    expect(h.text("a")).toBe("one");
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("a")).toBe("two");
    expect(h.told.conflicts).toEqual([]);
  });

  test("while parts are under way gives the upload up, and parts that are still true are kept", async () => {
    const content = bytesOf(3 * PART);
    const release = h.store.faults.hang({ method: "uploadPart" });
    const file = await h.write("big", content);
    await h.until(() => h.store.faults.hits.length === 3);
    await file.openForWrite();
    release();
    const changed = bytesOf(3 * PART, 2);
    await file.write(0, changed);
    await h.closeFile(file);
    await h.wb.flush();
    expect(Buffer.compare(h.store.peek("big")!, changed)).toBe(0);
    expect(await h.store.listMultiparts("")).toEqual([]);
  });

  test("a held file after it was published makes it pending again, on what was published", async () => {
    const file = await h.openNew("a");
    file.hold();
    await file.write(0, Buffer.from("one"));
    await h.closeFile(file);
    await h.wb.flush();
    expect(file.state).toBe("published");
    expect(h.wb.find("a")).toBe(file);
    await file.openForWrite();
    await file.write(3, Buffer.from(" two"));
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("a")).toBe("one two");
    file.unhold();
    expect(h.wb.find("a")).toBeUndefined();
  });

  test("without writing sends nothing a second time", async () => {
    const etag = h.store.seed("a", "content");
    const file = await h.overlay("a");
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.told.published).toEqual([["a", etag]]);
    expect(h.count("put")).toBe(0);
  });
});

describe("fsync", () => {
  test("brings what was written so far to the bucket; closing sends nothing more", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("content"));
    await file.fsync();
    expect(h.text("a")).toBe("content");
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.count("put")).toBe(1);
    expect(h.wb.find("a")).toBeUndefined();
  });

  test("then rename costs one PUT and one copy", async () => {
    const file = await h.openNew("a.tmp");
    await file.write(0, Buffer.from("content"));
    await file.fsync();
    await h.closeFile(file);
    const [, etag] = h.told.published[0]!;
    await h.wb.rekey([{ file, key: "a", base: { kind: "absent" } }]);
    await h.wb.remove({ key: "a.tmp", etag });
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["a"]);
    expect(h.text("a")).toBe("content");
    expect([h.count("put"), h.count("copy"), h.count("delete")]).toEqual([1, 1, 1]);
  });

  test("again sends what has changed since", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("one"));
    await file.fsync();
    await file.fsync();
    expect(h.count("put")).toBe(1);
    await file.write(3, Buffer.from("+two"));
    await Promise.all([file.fsync(), file.fsync()]);
    expect(h.text("a")).toBe("one+two");
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.count("put")).toBe(2);
  });

  test("says what makes it fail for good", async () => {
    h.store.faults.fail({ method: "put", error: denied(), times: Infinity });
    const file = await h.openNew("a");
    await expect(file.fsync()).rejects.toMatchObject({ code: "access_denied" });
    await h.closeFile(file);
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "access_denied" });
    expect(h.wb.status().files[0]).toMatchObject({ state: "failed", lastError: { code: "access_denied" } });
    h.store.faults.heal();
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["a"]);
  });

  test("with fsync: local sends nothing", async () => {
    await h.crashAndOpen({ options: { fsync: "local" } });
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("x"));
    await file.fsync();
    expect(h.count("put")).toBe(0);
    await h.closeFile(file);
  });
});

describe("names", () => {
  test("a pending file and a folder of them move without sending anything twice", async () => {
    const files = [];
    for (let at = 0; at < 20; at++) files.push(await h.write(`old/${at}`, `content ${at}`));
    await Promise.all(
      files.map((file, at) => h.wb.rekey([{ file, key: `new/${at}`, base: { kind: "absent" } }])),
    );
    await h.wb.flush();
    expect(h.store.keys()).toHaveLength(20);
    expect(h.store.keys().every((key) => key.startsWith("new/"))).toBe(true);
    expect(h.count("put")).toBe(20);
  });

  test("a rename while the PUT is under way ends as one object under the new key", async () => {
    const release = h.store.faults.hang({ method: "put" });
    const file = await h.write("a.tmp", "content");
    await h.until(() => h.store.faults.hits.length === 1);
    await h.wb.rekey([{ file, key: "a", base: { kind: "absent" } }]);
    release();
    await h.wb.flush();
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["a"]);
    expect(h.text("a")).toBe("content");
  });

  test("removal while the PUT is under way leaves nothing", async () => {
    const release = h.store.faults.hang({ method: "put" });
    const file = await h.write("a", "content");
    await h.until(() => h.store.faults.hits.length === 1);
    await h.wb.drop(file);
    release();
    await h.until(() => h.count("delete") === 1);
    expect(h.store.keys()).toEqual([]);
  });

  test("a new file over a delete that has not begun overwrites", async () => {
    const etag = h.store.seed("a", "old");
    let go = (): void => undefined;
    await h.wb.remove({ key: "a", etag }, new Promise((resolve) => (go = resolve)));
    await h.write("a", "new");
    go();
    await h.wb.flush();
    expect(h.text("a")).toBe("new");
    expect(h.count("delete")).toBe(0);
  });

  test("an object that was replaced by somebody else is not deleted", async () => {
    const etag = h.store.seed("a", "old");
    h.store.seed("a", "theirs");
    await h.wb.remove({ key: "a", etag });
    await h.wb.flush();
    expect(h.text("a")).toBe("theirs");
    expect(h.told.settled).toEqual(["a"]);
  });

  test("moves of moves find what the first has made", async () => {
    h.store.seed("a", bytesOf(10));
    const version = await h.version("a");
    await Promise.all([h.wb.move(version, "b"), h.wb.move({ ...version, key: "b" }, "c")]);
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["c"]);
    expect(h.told.copied).toEqual([
      ["a", "b"],
      ["b", "c"],
    ]);
  });

  test("metadata is replaced without the bytes", async () => {
    h.store.seed("a", "content", { metadata: { mode: "1" } });
    await h.wb.replaceMeta(await h.version("a"), { metadata: { mode: "2" } });
    await h.wb.flush();
    expect((await h.store.head("a")).metadata["mode"]).toBe("2");
    expect(h.text("a")).toBe("content");
  });

  test("W9 changes of metadata in a row are one copy, of the last", async () => {
    h.store.seed("a", "content", { metadata: { mode: "1" } });
    const version = await h.version("a");
    for (const mode of ["2", "3", "4"]) await h.wb.replaceMeta(version, { metadata: { mode } });
    await h.until(() => h.told.copied.length === 1);
    expect([(await h.store.head("a")).metadata["mode"], h.count("copy")]).toEqual(["4", 1]);
    expect(h.wb.status().items).toBe(0);
  });

  test("a change of metadata that comes while the one before is under way is another copy", async () => {
    h.store.seed("a", "content");
    const version = await h.version("a");
    const release = h.store.faults.hang({ method: "copy" });
    await h.wb.replaceMeta(version, { metadata: { mode: "2" } });
    await h.until(() => h.store.faults.hits.length === 1);
    await h.wb.replaceMeta(version, { metadata: { mode: "3" } });
    release();
    await h.wb.flush();
    expect([(await h.store.head("a")).metadata["mode"], h.count("copy")]).toEqual(["3", 2]);
  });

  test("changes of metadata that were folded are the last one's after a crash", async () => {
    h.store.seed("a", "content");
    const version = await h.version("a");
    for (const mode of ["2", "3"]) await h.wb.replaceMeta(version, { metadata: { mode } });
    await h.crashAndOpen();
    await h.wb.flush();
    expect([(await h.store.head("a")).metadata["mode"], h.count("copy")]).toEqual(["3", 1]);
  });

  test("what is removed gets no new metadata first", async () => {
    h.store.seed("a", "content");
    const version = await h.version("a");
    await h.wb.replaceMeta(version, { metadata: { mode: "2" } });
    await h.wb.remove(version);
    await h.wb.flush();
    expect([h.store.keys(), h.count("copy")]).toEqual([[], 0]);
  });

  test("W6 a marker that is owed is put by who comes after a crash, and by nobody when it was taken back", async () => {
    await h.wb.owe("owed/", { metadata: { mode: "16877" } });
    (await h.wb.owe("full/", {}))();
    await h.wb.flush();
    expect(h.store.keys()).toEqual([]);
    const goOn = h.store.faults.hang({ method: "put" });
    await h.crashAndOpen();
    expect([...h.wb.restoredItems()].map((item) => item.kind === "mark" && item.key)).toEqual(["owed/"]);
    goOn();
    await h.wb.flush();
    expect([h.store.keys(), (await h.store.head("owed/")).metadata["mode"]]).toEqual([["owed/"], "16877"]);
  });

  test("a marker is an empty object", async () => {
    await h.wb.mark("folder/", { metadata: {} });
    await h.wb.flush();
    expect(h.text("folder/")).toBe("");
  });
});

test("W12 settled waits for a change of metadata under just this key", async () => {
  for (const key of ["a", "ab"]) h.store.seed(key, key);
  h.store.faults.fail({
    method: "copy",
    key: "ab",
    times: Infinity,
    error: new HawserError("slow_down", "no"),
  });
  await h.wb.replaceMeta(await h.version("ab"), { metadata: { mode: "33152" } });
  await h.wb.replaceMeta(await h.version("a"), { metadata: { mode: "33152" } });
  await h.wb.settled("a");
  expect((await h.store.head("a")).metadata).toMatchObject({ mode: "33152" });
  expect((await h.store.head("ab")).metadata).toEqual({});
  h.store.faults.heal();
});

describe("conflicts", () => {
  test("somebody else's object stays, ours goes to recovered/", async () => {
    await h.write("a", "ours");
    h.store.seed("a", "theirs");
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("a")).toBe("theirs");
    expect(h.told.conflicts).toHaveLength(1);
    expect(h.wb.status().recovered).toBe(1);
  });

  test("W18 one that was settled before is told to each barrier, until it is dropped", async () => {
    await h.write("dir/a", "ours");
    h.store.seed("dir/a", "theirs");
    await h.until(() => h.told.conflicts.length === 1);
    const [[, name]] = h.told.conflicts as [[string, string]];
    await expect(h.wb.tellConflicts("dir/", "standing")).rejects.toThrow(`recovered/${name}`);
    await h.wb.tellConflicts("other/", "standing");
    await h.crashAndOpen();
    await expect(h.wb.tellConflicts("", "standing")).rejects.toMatchObject({ code: "object_changed" });
    await dropRecovered(join(h.folder, "recovered"), name);
    await h.wb.tellConflicts("", "standing");
  });

  test("W18 one that was settled before is told to one fsync of the file or of a folder above it", async () => {
    for (const key of ["dir/a", "dir/b"]) {
      await h.write(key, "ours");
      h.store.seed(key, "theirs");
    }
    await h.until(() => h.told.conflicts.length === 2);
    await h.wb.tellConflicts("dir/", "exact");
    await expect(h.wb.tellConflicts("dir/a", "exact")).rejects.toThrow("dir/a is in recovered/");
    await h.wb.tellConflicts("dir/a", "exact");
    await expect(h.wb.tellConflicts("dir/", "once")).rejects.toThrow("dir/b is in recovered/");
    await h.wb.tellConflicts("dir/", "once");
  });

  test("W18 fsync of a handle that was open then fails each time", async () => {
    const file = await h.write("a", "ours");
    file.hold();
    h.store.seed("a", "theirs");
    await h.until(() => h.told.conflicts.length === 1);
    for (let asked = 0; asked < 2; asked++)
      await expect(file.fsync()).rejects.toMatchObject({ code: "object_changed" });
    file.unhold();
  });

  test("a torn rewrite leaves the base", async () => {
    const base = h.store.seed("a", "old");
    const file = await h.openNew("a", { base });
    await file.write(0, Buffer.from("ne"));
    await file.tear();
    file.releaseWrite();
    await h.until(() => h.told.conflicts.length === 1);
    expect(h.text("a")).toBe("old");
  });
});

function denied(): Error {
  return new HawserError("access_denied", "no", { httpStatus: 403 });
}
