/** Multipart uploads whose ids were lost are aborted, and those of others are not. */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { ObjectStore } from "../../../src/store/object-store.ts";
import type { FaultPoint } from "../../../src/writeback/fault-point.ts";
import { mayBeOurs } from "../../../src/writeback/multipart-janitor.ts";
import { TestClock } from "../store/test-clock.ts";
import { Harness, PART, bytesOf, turns } from "./harness.ts";

const MINUTE = 60_000;

let h: Harness;
let bucketClock: TestClock;
beforeEach(async () => {
  bucketClock = new TestClock();
  h = await Harness.start({}, { clock: bucketClock });
});
afterEach(async () => {
  await h.end();
});

const lost = () => new HawserError("timed_out", "the answer was lost");

async function openUploads(): Promise<string[]> {
  return (await h.store.listMultiparts("")).map(({ uploadId }) => uploadId);
}

/** Everything is in the bucket, and what has to be aborted is. */
async function settle(): Promise<void> {
  let over = false;
  const settled = (async () => {
    await h.wb.flush();
    await h.wb.tidy();
    over = true;
  })();
  await h.until(() => over, 1000);
  await settled;
}

describe("an upload that was begun and not answered", () => {
  test("is aborted by the process that began it", async () => {
    h.store.faults.fail({ method: "createMultipart", errorAfter: lost() });
    await h.write("big", bytesOf(2 * PART));
    await settle();
    expect(h.count("createMultipart")).toBe(2);
    expect(await openUploads()).toEqual([]);
    expect(h.store.peek("big")).toHaveLength(2 * PART);
  });

  test("is aborted by the next process", async () => {
    h.store.faults.fail({ method: "createMultipart", errorAfter: lost(), times: Infinity });
    await h.write("big", bytesOf(2 * PART));
    await h.until(() => h.logs.some((line) => line.includes("tried again")));
    const file = h.wb.find("big")!;
    await h.crashAndOpen();
    h.store.faults.heal();
    expect((await openUploads()).length).toBeGreaterThan(0);
    await settle();
    expect(await openUploads()).toEqual([]);
    expect(h.store.peek("big")).toHaveLength(2 * PART);
    expect(file.key).toBe("big");
  });

  test("is aborted when its file was removed, or renamed and begun anew", async () => {
    h.store.faults.fail({ method: "createMultipart", errorAfter: lost(), times: 4 });
    const file = await h.write("one", bytesOf(2 * PART));
    await h.until(() => h.count("createMultipart") >= 1);
    await h.wb.rekey([{ file, key: "two", base: { kind: "absent" } }]);
    await h.until(() => h.count("createMultipart") >= 3);
    await h.wb.drop(file);
    await settle();
    expect(await openUploads()).toEqual([]);
    expect(h.store.keys()).toEqual([]);
  });

  test("is looked for by unmounting, too, when it appears only after a first look", async () => {
    h.store.faults.fail({ method: "createMultipart", error: lost() });
    await h.write("big", bytesOf(2 * PART));
    // Well within the time that looks go on for, whatever else the clock is moved for meanwhile.
    await h.until(() => h.count("listMultiparts") > 0, 1);
    await h.store.createMultipart("big", {});
    await settle();
    expect(await openUploads()).toEqual([]);
  });

  test("that the store has repeated itself leaves none of its tries behind", async () => {
    const { createMultipart } = h.store;
    await h.crashAndOpen({
      store: new Proxy(h.store, {
        get(target, name) {
          if (name !== "createMultipart") return Reflect.get(target, name, target) as unknown;
          return async (key: string) => {
            await createMultipart.call(target, key, {});
            return { ...(await createMultipart.call(target, key, {})), repeated: true };
          };
        },
      }),
    });
    await h.write("big", bytesOf(2 * PART));
    await settle();
    expect(h.store.peek("big")).toHaveLength(2 * PART);
    expect(await openUploads()).toEqual([]);
  });
});

describe("an upload is aborted after a power loss", () => {
  const CASES: [when: string, point: FaultPoint, parts: number][] = [
    ["when it had been begun, and nobody had noted its id", "multipart.created", 0],
    ["when it had a part", "part.sent", 1],
  ];
  test.each(CASES)("%s", async (_when, point, parts) => {
    const journal = join(h.folder, "journal");
    let syncedBytes = 0;
    let left: Buffer | undefined;
    await h.wb.close();
    await h.open({
      options: { earlyUpload: Infinity },
      faultPoint(now) {
        if (now === "journal.synced") syncedBytes = statSync(journal).size;
        // The power goes here: what was not synced is lost.
        if (now === point) left ??= readFileSync(journal).subarray(0, syncedBytes);
      },
    });
    h.store.faults.hang({ method: "uploadPart", nth: parts + 1 });
    await h.write("big", bytesOf(2 * PART));
    await h.until(() => left !== undefined, 0);
    await h.wb.close();
    expect(await openUploads()).toHaveLength(1);
    writeFileSync(journal, left!);
    h.store.faults.heal();
    await h.open({ bootId: "boot-2" });
    await settle();
    expect(await openUploads()).toEqual([]);
  });
});

describe("an upload of somebody else under the same key stays", () => {
  async function loseOne(): Promise<void> {
    h.store.faults.fail({ method: "createMultipart", errorAfter: lost() });
    await h.write("big", bytesOf(2 * PART));
    await h.until(() => h.count("createMultipart") > 1);
  }

  test("when it has parts", async () => {
    const { uploadId } = await h.store.createMultipart("big", {});
    await h.store.uploadPart("big", uploadId, 1, bytesOf(10));
    await loseOne();
    await settle();
    expect(await openUploads()).toEqual([uploadId]);
  });

  test("when it gets its first part a while after it was seen", async () => {
    const { uploadId } = await h.store.createMultipart("big", {});
    await loseOne();
    await h.until(() => h.count("listParts") > 0, 0);
    await turns(3);
    await h.store.uploadPart("big", uploadId, 1, bytesOf(10));
    await settle();
    expect(await openUploads()).toEqual([uploadId]);
  });

  test("when it was begun long before ours, or long after", async () => {
    const { uploadId: before } = await h.store.createMultipart("big", {});
    bucketClock.advance(20 * MINUTE);
    h.clock.advance(20 * MINUTE);
    await loseOne();
    bucketClock.advance(60 * MINUTE);
    const { uploadId: after } = await h.store.createMultipart("big", {});
    await settle();
    expect((await openUploads()).sort()).toEqual([before, after].sort());
  });

  test("when its key only begins as ours does", async () => {
    const { uploadId } = await h.store.createMultipart("bigger", {});
    await loseOne();
    await settle();
    expect(await openUploads()).toEqual([uploadId]);
  });
});

test("where listing uploads is denied it is said once, and nobody waits", async () => {
  const denied = new HawserError("access_denied", "no");
  h.store.faults.fail({ method: "listMultiparts", error: denied, times: Infinity });
  for (const key of ["one", "two"]) {
    h.store.faults.fail({ method: "createMultipart", key, errorAfter: lost() });
    await h.write(key, bytesOf(2 * PART));
  }
  await settle();
  h.store.faults.heal();
  expect(h.logs.filter((line) => line.includes("Listing uploads is denied"))).toHaveLength(1);
  expect(await openUploads()).toHaveLength(2);
});

test.each([
  ["the key, at that time", { key: "a", initiatedMs: 0 }, true],
  ["another key", { key: "a/b", initiatedMs: 0 }, false],
  ["a clock that is 15 minutes off", { key: "a", initiatedMs: -15 * MINUTE }, true],
  ["an hour before", { key: "a", initiatedMs: -60 * MINUTE }, false],
  ["while the request is still tried", { key: "a", initiatedMs: 3 * MINUTE }, true],
  ["an hour after", { key: "a", initiatedMs: 60 * MINUTE }, false],
])("what a listing says of an upload: %s", (_what, upload, expected) => {
  const began = { id: 1, key: "a", at: 0 };
  expect(mayBeOurs({ uploadId: "u", ...upload }, began)).toBe(expected);
});

/** What is on the disk at this moment is opened as another process would find it. */
async function endNow(at: string): Promise<void> {
  await h.wb.close();
  await h.open({ stagingDir: at });
}

function copyOfFolder(): string {
  const at = join(h.folder, "at-the-point");
  const args = ["files", "journal"].map((name) => join(h.folder, name));
  // A file that is done with may vanish meanwhile.
  execFileSync("sh", ["-c", 'rm -rf "$2" && mkdir "$2" && { cp -a "$0" "$1" "$2" || true; }', ...args, at]);
  return at;
}

describe("a copy on the server that takes a multipart", () => {
  /** Copies as S3 does above 5 GiB. */
  async function copiesInParts(during: (signal?: AbortSignal) => unknown): Promise<void> {
    const copy: ObjectStore["copy"] = async (source, key, options) => {
      const uploadId = await options!.inParts!(() => h.store.createMultipart(key, {}));
      await during(options!.signal);
      const made = await h.store.copy(source, key, options);
      await h.store.abortMultipart(key, uploadId);
      return made;
    };
    const get = (store: ObjectStore, name: keyof ObjectStore): unknown =>
      name === "copy" ? copy : store[name];
    await h.crashAndOpen({ store: new Proxy<ObjectStore>(h.store, { get }) });
  }

  test("is aborted by the next process when this one was killed meanwhile", async () => {
    await h.write("a", "content");
    await h.wb.flush();
    let at = "";
    // From here on this one does nothing any more.
    await copiesInParts(async (signal) => {
      at = copyOfFolder();
      signal!.throwIfAborted();
      await new Promise((_, reject) => signal!.addEventListener("abort", () => reject(lost())));
    });
    await h.wb.move(await h.version("a"), "b");
    await h.until(() => at !== "");
    expect(await openUploads()).toHaveLength(1);
    await endNow(at);
    await settle();
    expect([await openUploads(), h.store.keys()]).toEqual([[], ["b"]]);
  });

  test("is aborted by this process when the copy failed and could not abort it", async () => {
    await h.write("a", "content");
    await h.wb.flush();
    await copiesInParts(() => undefined);
    h.store.faults.fail({ method: "copy", error: lost() });
    await h.wb.move(await h.version("a"), "b");
    await settle();
    expect([await openUploads(), h.store.keys()]).toEqual([[], ["b"]]);
    expect(h.count("createMultipart")).toBe(2);
  });
});
