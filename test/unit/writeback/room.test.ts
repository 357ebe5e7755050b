/** Back-pressure: who waits while more is pending than `--staging-size`, and until when. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness, bytesOf, turns } from "./harness.ts";

let h: Harness;
let release: () => void;
/** Made while there was room, and open. */
let second: StagedFile;
beforeEach(async () => {
  h = await Harness.start({ options: { stagingSize: 1000 } });
});
afterEach(async () => {
  release();
  await h.end();
});

/** The area is as good as full, and what is in it is being sent. @param error what that comes to when it may go on */
async function fill(error?: HawserError): Promise<void> {
  release = h.store.faults.hang({ method: "put", key: "first", ...(error ? { error } : {}) });
  const first = await h.openNew("first");
  second = await h.openNew("second");
  await first.write(0, bytesOf(900));
  await h.closeFile(first);
  await h.until(() => h.store.faults.hits.length === 1);
}

/** Resolves to what happened first to an action: its end, or that all it could have done was done. */
async function ends(action: Promise<unknown>): Promise<boolean> {
  let ended = false;
  void action.then(() => (ended = true));
  await turns(20);
  return ended;
}

test("a close waits until an upload has made room", async () => {
  await fill();
  await second.write(0, bytesOf(200));
  const closing = second.flush();
  expect(await ends(closing)).toBe(false);
  release();
  await h.until(() => h.text("first") !== undefined);
  await closing;
  second.releaseWrite();
  await h.wb.flush();
  expect(h.store.peek("second")).toHaveLength(200);
});

test("an open for writing waits until an upload has made room", async () => {
  await fill();
  await second.write(0, bytesOf(50));
  await h.closeFile(second);
  const third = await h.openNew("third");
  await third.write(0, bytesOf(100));
  const closed = h.closeFile(third);
  expect(await ends(closed)).toBe(false);
  const opening = second.openForWrite();
  expect(await ends(opening)).toBe(false);
  release();
  await Promise.all([closed, opening]);
  await h.closeFile(second);
  await h.wb.flush();
  expect(h.store.keys()).toEqual(["first", "second", "third"]);
});

test("a close does not fail for lack of room: where nothing can be sent it answers", async () => {
  await fill(new HawserError("access_denied", "no"));
  await second.write(0, bytesOf(200));
  const closing = h.closeFile(second);
  expect(await ends(closing)).toBe(false);
  release();
  await closing;
  expect(h.wb.status().files).toContainEqual(expect.objectContaining({ key: "first", state: "failed" }));
  await h.wb.flush();
  expect(h.store.keys()).toEqual(["first", "second"]);
});
