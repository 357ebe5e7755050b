/** What goes wrong in the bucket, on the disk and with permissions. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { ErrorCode } from "../../../src/common/errors.ts";
import { STARVED_MS } from "../../../src/writeback/file-life.ts";
import { Harness, PART, bytesOf, turns } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

const error = (code: ErrorCode) => new HawserError(code, `${code} on purpose`);

describe("an upload", () => {
  test.each<ErrorCode>([
    "credentials_expired",
    "clock_skewed",
    "slow_down",
    "endpoint_unreachable",
    "store_failed",
  ])("that fails with %s is tried until it succeeds", async (code) => {
    h.store.faults.fail({ method: "put", times: 4, error: error(code) });
    h.store.faults.fail({ method: "head", times: 2, error: error(code) });
    await h.write("a", "content");
    await h.until(() => h.text("a") === "content", 1000);
    expect(h.told.failed).toEqual([]);
  });

  test.each<ErrorCode>(["credentials_expired", "endpoint_unreachable"])(
    "of parts that fails with %s keeps those that are there",
    async (code) => {
      h.store.faults.fail({ method: "uploadPart", nth: 2, times: 3, error: error(code) });
      const content = bytesOf(4 * PART);
      await h.write("big", content);
      await h.until(() => h.told.published.length === 1, 500);
      expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
      expect(h.count("createMultipart")).toBe(1);
    },
  );

  test("waits through ten minutes without a store, over a restart, and is there within a minute after", async () => {
    const requests = ["put", "head", "createMultipart", "uploadPart", "completeMultipart", "delete"] as const;
    for (const method of requests) {
      h.store.faults.fail({ method, times: Infinity, error: error("endpoint_unreachable") });
    }
    const large = bytesOf(2 * PART);
    await h.write("small", "content");
    await h.write("large", large);
    for (const half of ["before", "after"]) {
      const began = h.clock.now();
      await h.until(() => h.clock.now() - began >= 5 * 60_000, 1000);
      if (half === "before") await h.crashAndOpen();
    }
    expect(h.store.keys()).toEqual([]);
    expect(h.told).toMatchObject({ failed: [], conflicts: [] });
    expect(h.wb.status().files).toHaveLength(2);
    h.store.faults.heal();
    const healed = h.clock.now();
    await h.until(() => h.clock.now() - healed >= 59_000, 1000);
    // From here on only the disk is waited for: the clock stands still.
    await h.until(() => h.store.keys().length === 2, 0);
    await h.wb.flush();
    expect(h.text("small")).toBe("content");
    expect(Buffer.compare(h.store.peek("large")!, large)).toBe(0);
    expect(await h.store.listMultiparts("")).toEqual([]);
  });

  test("that was completed and answered with a failure is not sent again", async () => {
    h.store.faults.fail({ method: "completeMultipart", errorAfter: error("store_failed") });
    await h.write("big", bytesOf(2 * PART));
    await h.wb.flush();
    expect(h.count("createMultipart")).toBe(1);
    expect(h.told.conflicts).toEqual([]);
  });

  test("that is denied keeps the file, says so, and is tried again by flush", async () => {
    h.store.faults.fail({ method: "put", times: Infinity, error: error("access_denied") });
    await h.write("a", "content");
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "access_denied" });
    expect(h.told.failed).toEqual([["a", "access_denied"]]);
    expect(h.wb.status().files).toMatchObject([{ key: "a", state: "failed" }]);
    h.store.faults.heal();
    await h.wb.flush();
    expect(h.text("a")).toBe("content");
  });

  test("without ListParts and AbortMultipartUpload starts over, each said once", async () => {
    h.store.faults.fail({ method: "listParts", times: Infinity, error: error("access_denied") });
    h.store.faults.fail({ method: "abortMultipart", times: Infinity, error: error("access_denied") });
    for (const key of ["one", "two"]) {
      h.store.faults.fail({ method: "completeMultipart", key, error: error("slow_down") });
      await h.write(key, bytesOf(PART + 1));
    }
    await h.until(() => h.told.published.length === 2, 500);
    await turns(5);
    const said = h.logs.filter((line) => line.includes("denied:"));
    expect(said).toHaveLength(2);
  });

  test("W2 on a store without conditions finds somebody else's object before", async () => {
    await h.end();
    h = await Harness.start({}, { capabilities: { conditionalPut: false } });
    await h.write("a", "ours");
    h.store.seed("a", "theirs");
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("a")).toBe("theirs");
  });
});

describe("order", () => {
  test("the small file waits for the large one before it; deletes too", async () => {
    const etag = h.store.seed("old", "old checkpoint");
    const release = h.store.faults.hang({ method: "uploadPart" });
    await h.write("run/shard", bytesOf(PART + 1));
    await h.until(() => h.wb.status().files[0]?.state === "uploading");
    await h.write("run/latest", "shard");
    await h.wb.remove({ key: "old", etag });
    await h.until(() => h.store.faults.hits.length === 2);
    for (let at = 0; at < 5; at++) {
      h.clock.advance(1000);
      await turns(3);
    }
    expect(h.store.keys()).toEqual(["old"]);
    release();
    await h.wb.flush();
    expect(h.told.published.map(([key]) => key)).toEqual(["run/shard", "run/latest"]);
    expect(h.store.keys()).toEqual(["run/latest", "run/shard"]);
  });

  test("does not hold with publish: any", async () => {
    await h.crashAndOpen({ options: { publish: "any" } });
    const release = h.store.faults.hang({ method: "uploadPart" });
    await h.write("run/shard", bytesOf(PART + 1));
    await h.write("run/latest", "shard");
    await h.until(() => h.store.keys().length === 1);
    release();
    await h.wb.flush();
  });
});

describe("very large files", () => {
  test("go up while they are written; what changes before the close is sent again", async () => {
    await h.crashAndOpen({ options: { earlyUpload: 4 * PART } });
    const content = bytesOf(6 * PART);
    const file = await h.openNew("huge");
    await file.write(0, content);
    await h.until(() => h.count("uploadPart") >= 3, 1000);
    expect(h.store.keys()).toEqual([]);
    content.write("changed", 10);
    await file.write(10, Buffer.from("changed"));
    await h.closeFile(file);
    await h.wb.flush();
    expect(Buffer.compare(h.store.peek("huge")!, content)).toBe(0);
    expect(h.count("createMultipart")).toBe(1);
    expect(await h.store.listMultiparts("")).toEqual([]);
  });

  test("that are dropped before the close leave no multipart", async () => {
    await h.crashAndOpen({ options: { earlyUpload: 4 * PART } });
    const file = await h.openNew("huge");
    await file.write(0, bytesOf(6 * PART));
    await h.until(() => h.count("uploadPart") >= 3, 1000);
    await h.wb.drop(file);
    file.releaseWrite();
    await h.until(() => h.count("abortMultipart") === 1);
    expect(await h.store.listMultiparts("")).toEqual([]);
  });
});

test("a file that is written again and again is published from a copy within a minute", async () => {
  const file = await h.openNew("log");
  file.hold();
  let text = "";
  const began = h.clock.monotonic();
  while (h.text("log") === undefined) {
    text += "line\n";
    await file.write(0, Buffer.from(text));
    await h.closeFile(file);
    await h.until(() => file.state !== "closed", 0);
    h.clock.advance(90);
    await file.openForWrite();
    await turns(2);
    if (h.clock.monotonic() - began > 2 * STARVED_MS) break;
  }
  // The copy is made by the machine's disk, which takes its own time: the clock stands still, and the file is open.
  await h.until(() => h.text("log") !== undefined, 0);
  expect(h.text("log")).toMatch(/^(line\n)+$/);
  await h.closeFile(file);
  await h.wb.flush();
  expect(h.text("log")).toBe(text);
  file.unhold();
});

describe("room", () => {
  test("writers wait while the area is full and uploads make room", async () => {
    await h.crashAndOpen({ options: { stagingSize: 1000 } });
    const release = h.store.faults.hang({ method: "put" });
    const file = await h.openNew("a");
    await file.write(0, bytesOf(2000));
    const closing = h.closeFile(file);
    await closing;
    let staged = false;
    const next = h.openNew("b").then((opened) => {
      staged = true;
      return opened;
    });
    await h.until(() => h.store.faults.hits.length === 1);
    expect(staged).toBe(false);
    release();
    const b = await next;
    await h.closeFile(b);
    await h.wb.flush();
  });

  test("a disk without room says so before anything is lost", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("kept"));
    await h.closeFile(file);
    await h.wb.close();
    await h.open({ options: { keepFree: Number.MAX_SAFE_INTEGER } });
    await h.wb.flush();
    await expect(h.openNew("b")).rejects.toMatchObject({ code: "no_space" });
    expect(h.text("a")).toBe("kept");
  });
});

test("onClose: bucket makes a FLUSH wait for the bucket", async () => {
  await h.crashAndOpen({ options: { onClose: "bucket" } });
  const file = await h.openNew("a");
  await file.write(0, Buffer.from("content"));
  await file.flush();
  expect(h.text("a")).toBe("content");
  file.releaseWrite();
  await h.wb.flush();
  expect(h.count("put")).toBe(1);
});

test("what is published is taken over by the cache", async () => {
  const taken: [string, string, number][] = [];
  await h.crashAndOpen({
    adopt: async (path, { key, sizeBytes }) => {
      taken.push([path, key, sizeBytes]);
      return false;
    },
  });
  await h.write("a", "content");
  await h.wb.flush();
  await h.until(() => taken.length === 1);
  expect(taken[0]!.slice(1)).toEqual(["a", 7]);
});

test("everything may be closed twice, and refuses what comes after", async () => {
  await h.wb.close();
  await h.wb.close();
  await expect(h.wb.stage("a", { base: { kind: "absent" }, meta: {} })).rejects.toMatchObject({
    code: "closed",
  });
  await expect(h.wb.remove({ key: "a" })).rejects.toMatchObject({ code: "closed" });
});
