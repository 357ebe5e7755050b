/** When a closed file is sealed: a small one behind its writer's back, and never later than somebody relies on it. */
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LARGE } from "../../../src/writeback/publish-order.ts";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness, bytesOf } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** Written by the kernel itself, as with passthrough: no descriptor of ours is to be closed. */
async function write(key: string, content: Uint8Array | string): Promise<StagedFile> {
  const file = await h.openNew(key);
  writeFileSync(`/proc/self/fd/${file.backing()}`, content);
  await h.closeFile(file);
  return file;
}

const states = (): string[] => h.wb.status().files.map(({ key, state }) => `${key} ${state}`);

test("a small file is sealed once its writer has the next one", async () => {
  await write("a", "one");
  expect(states()).toEqual(["a closed"]);
  const next = await h.openNew("b");
  expect(states()).toEqual(["a closed", "b open"]);
  await h.until(() => states()[0] !== "a closed", 0);
  expect(states()).toEqual(["a sealed", "b open"]);
  await h.closeFile(next);
});

test("a small file is sealed soon when no other is made", async () => {
  await write("a", "one");
  h.clock.advance(5);
  expect(states()).toEqual(["a sealed"]);
});

test("one that was written through us has waited for its descriptor, and is sealed then", async () => {
  await h.write("a", "one");
  await h.until(() => states()[0] === "a sealed", 0);
});

test("a flush does not wait for the time of either", async () => {
  await write("a", "one");
  await h.wb.flush();
  expect(h.text("a")).toBe("one");
});

test("what was closed before a large file is sealed before it", async () => {
  await write("small", "one");
  await write("large", bytesOf(LARGE));
  expect(states()).toEqual(["small sealed", "large sealed"]);
  // Sealed after it, it would wait for it.
  const release = h.store.faults.hang({ method: "put", key: "large" });
  await h.wb.flush("small");
  expect([h.text("small"), h.text("large")]).toEqual(["one", undefined]);
  release();
});

test("one that is opened again before it is sealed is sealed when it is closed again", async () => {
  const file = await write("a", "one");
  await file.openForWrite();
  h.clock.advance(5);
  expect(states()).toEqual(["a open"]);
  await file.write(3, Buffer.from(", two"));
  await h.closeFile(file);
  await h.wb.flush();
  expect(h.text("a")).toBe("one, two");
});

test("one that is removed before it is sealed is not brought back", async () => {
  const file = await write("a", "one");
  await h.wb.drop(file);
  h.clock.advance(5);
  await h.wb.flush();
  expect(states()).toEqual([]);
  expect(h.text("a")).toBeUndefined();
});

test("one that is renamed before it is sealed goes to its new name alone", async () => {
  const file = await write("a", "one");
  await h.wb.rekey([{ file, key: "b", base: { kind: "absent" } }]);
  await h.wb.flush();
  expect([h.text("a"), h.text("b")]).toEqual([undefined, "one"]);
});

test("W14 what was closed and not sealed is published after a crash", async () => {
  await write("a", "one");
  await h.crashAndOpen();
  await h.wb.flush();
  expect(h.text("a")).toBe("one");
});
