/** A file that was published, opened again and renamed: its object stays until it is closed, and holds nobody up. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** In the bucket as `log`, named `log.1` since, and open for writing. */
async function renamedWhileOpen(): Promise<StagedFile> {
  const file = await h.openNew("log");
  file.hold();
  await file.write(0, Buffer.from("one"));
  await h.closeFile(file);
  await h.wb.flush();
  await file.openForWrite();
  file.unhold();
  const { etag } = await h.version("log");
  await Promise.all([
    h.wb.rekey([{ file, key: "log.1", base: { kind: "absent" } }]),
    h.wb.remove({ key: "log", etag }),
  ]);
  return file;
}

test("W17 flush waits neither for the file nor for its old name, which goes when it is closed", async () => {
  const file = await renamedWhileOpen();
  await h.wb.flush();
  expect([h.text("log"), h.text("log.1")]).toEqual(["one", undefined]);
  await file.write(3, Buffer.from(", two"));
  await h.closeFile(file);
  await h.wb.flush();
  expect([h.text("log"), h.text("log.1")]).toEqual([undefined, "one, two"]);
});

test("the old name that cannot be removed later fails nobody who has left", async () => {
  const file = await renamedWhileOpen();
  await h.wb.flush();
  const denied = new HawserError("access_denied", "denied");
  h.store.faults.fail({ method: "delete", error: denied, times: Infinity });
  await h.closeFile(file);
  await h.until(() => h.logs.some((line) => line.includes("a change waits for 'hawser flush'")));
  h.store.faults.heal();
  await h.wb.flush();
  expect([h.text("log"), h.text("log.1")]).toEqual([undefined, "one"]);
});

test("a flush that waits for the old name goes on when the file is opened", async () => {
  const file = await renamedWhileOpen();
  const release = h.store.faults.hang({ method: "put" });
  await file.write(3, Buffer.from(", two"));
  await h.closeFile(file);
  const flushed = h.wb.flush();
  await h.until(() => h.store.faults.hits.length === 1);
  await file.openForWrite();
  release();
  // What was closed when the flush began is in the bucket, although the file is open again.
  await flushed;
  expect(h.text("log.1")).toBe("one, two");
  await h.closeFile(file);
  await h.wb.flush();
  expect([h.text("log"), h.text("log.1")]).toEqual([undefined, "one, two"]);
});

test("W17 a new file of the old name is published while the renamed one is open", async () => {
  const file = await renamedWhileOpen();
  await h.write("log", "new");
  await h.wb.flush();
  expect([h.text("log"), h.text("log.1")]).toEqual(["new", undefined]);
  await h.closeFile(file);
  await h.wb.flush();
  expect([h.text("log"), h.text("log.1")]).toEqual(["new", "one"]);
});
