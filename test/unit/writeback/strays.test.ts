/** Objects that uploads leave where none belongs, because their file was renamed or removed meanwhile. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { ErrorCode } from "../../../src/common/errors.ts";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness, turns } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

const error = (code: ErrorCode) => new HawserError(code, `${code} on purpose`);

/** Says when a promise has resolved. */
class Watched {
  over = false;
  readonly promise: Promise<void>;
  constructor(promise: Promise<void>) {
    this.promise = promise.then(() => {
      this.over = true;
    });
  }
}

async function leave(how: "renamed" | "removed", file: StagedFile): Promise<string[]> {
  if (how === "removed") {
    await h.wb.drop(file);
    return [];
  }
  await h.wb.rekey([{ file, key: "new", base: { kind: "absent" } }]);
  return ["new"];
}

describe.each(["renamed", "removed"] as const)("a file that is %s", (how) => {
  test("while its PUT is under way: flush waits until its object is gone from the old key", async () => {
    const release = h.store.faults.hang({ method: "put", key: "old" });
    const file = await h.write("old", "content");
    await h.until(() => h.store.faults.hits.length === 1);
    const left = await leave(how, file);
    const flushed = new Watched(h.wb.flush());
    for (let at = 0; at < 20; at++) {
      h.clock.advance(1000);
      await turns(2);
    }
    expect(flushed.over).toBe(false);
    release();
    await flushed.promise;
    expect(h.store.keys()).toEqual(left);
  });

  test("while its PUT is under way, after attributes were set, leaves nothing behind", async () => {
    const release = h.store.faults.hang({ method: "put", key: "old" });
    const file = await h.write("old", "content");
    await h.until(() => h.store.faults.hits.length === 1);
    // The PUT does not bring them: a copy is to follow it.
    await file.setMeta({ metadata: { mode: "33261" } });
    const left = await leave(how, file);
    release();
    await h.wb.flush();
    expect(h.store.keys()).toEqual(left);
  });

  test.each<ErrorCode>(["timed_out", "store_failed"])(
    "when its PUT has failed with %s and takes effect later leaves nothing behind",
    async (code) => {
      h.store.faults.fail({ method: "put", key: "old", error: error(code), times: Infinity });
      const file = await h.write("old", "content");
      await h.until(() => h.logs.some((line) => line.includes("tried again")));
      const heads = h.count("head");
      const left = await leave(how, file);
      const flushed = new Watched(h.wb.flush());
      await h.until(() => h.count("head") > heads, 0);
      await turns(5);
      expect(flushed.over).toBe(false);
      h.store.seed("old", "content", { metadata: { "hawser-upload": h.uploadId("old", 1) } });
      await h.until(() => flushed.over, 500);
      expect(h.store.keys()).toEqual(left);
    },
  );

  test("before it is known what came of a dead process's request leaves nothing behind", async () => {
    h.store.faults.hang({ method: "put" });
    await h.write("old", "content");
    await h.until(() => h.store.faults.hits.length === 1);
    await h.crashAndOpen();
    const heads = h.count("head");
    h.store.faults.heal();
    const left = await leave(how, h.wb.find("old")!);
    const flushed = new Watched(h.wb.flush());
    await h.until(() => h.count("head") > heads, 0);
    // It arrives a moment after the process that sent it is gone.
    h.store.seed("old", "content", { metadata: { "hawser-upload": h.uploadId("old", 1) } });
    await h.until(() => flushed.over, 500);
    expect(h.store.keys()).toEqual(left);
  });
});

test("what a dead process's request has left is waited for, though it was found before all else was in the bucket", async () => {
  h.store.faults.hang({ method: "put" });
  const file = await h.write("old", "content");
  await h.until(() => h.store.faults.hits.length === 1);
  const uploadId = h.uploadId("old", 1);
  await leave("renamed", file);
  h.store.seed("old", "content", { metadata: { "hawser-upload": uploadId } });
  const looks = h.store.faults.hang({ method: "head" });
  await h.crashAndOpen();
  const flushed = new Watched(h.wb.flush());
  const copies = h.store.faults.hang({ method: "copy" });
  const removals = h.store.faults.hang({ method: "delete" });
  looks();
  await h.until(() => h.store.faults.hits.some((hit) => hit.startsWith("copy")), 0);
  copies();
  await h.until(() => h.store.faults.hits.some((hit) => hit.startsWith("delete")), 0);
  await turns(20);
  expect([flushed.over, h.store.keys()]).toEqual([false, ["new", "old"]]);
  removals();
  await flushed.promise;
  expect(h.store.keys()).toEqual(["new"]);
});

test("an object of somebody else under the old key stays", async () => {
  h.store.faults.fail({ method: "put", key: "old", error: error("timed_out"), times: Infinity });
  const file = await h.write("old", "content");
  await h.until(() => h.logs.some((line) => line.includes("tried again")));
  h.store.seed("old", "theirs");
  await h.wb.drop(file);
  const flushed = new Watched(h.wb.flush());
  await h.until(() => flushed.over, 500);
  expect(h.text("old")).toBe("theirs");
});

test("what cannot be found out is told, and asked again by the next mount", async () => {
  h.store.faults.fail({ method: "put", key: "old", error: error("timed_out"), times: Infinity });
  const file = await h.write("old", "content");
  await h.until(() => h.logs.some((line) => line.includes("tried again")));
  h.store.faults.fail({ method: "head", error: error("access_denied"), times: Infinity });
  await h.wb.drop(file);
  await expect(h.wb.flush()).rejects.toMatchObject({ code: "access_denied" });
  const id = h.uploadId("old", 1);
  h.store.faults.heal();
  h.store.seed("old", "content", { metadata: { "hawser-upload": id } });
  await h.crashAndOpen();
  await h.wb.flush();
  expect(h.store.keys()).toEqual([]);
});
