/** Objects under names that files have left are deleted when each has been copied, and not before. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** Written to a temporary name, fsynced, closed and renamed. */
async function save(name: string): Promise<void> {
  const file = await h.openNew(`${name}.tmp`);
  await file.write(0, Buffer.from(`of ${name}`));
  await file.fsync();
  await h.closeFile(file);
  const { etag } = await h.version(`${name}.tmp`);
  await Promise.all([
    h.wb.rekey([{ file, key: name, base: { kind: "absent" } }]),
    h.wb.remove({ key: `${name}.tmp`, etag }),
  ]);
}

const temporary = (): string[] => h.store.keys().filter((key) => key.endsWith(".tmp"));

test("of many saves with a temporary name each waits for its own copy alone", async () => {
  const names = Array.from({ length: 12 }, (_, at) => `save-${at}`);
  const release = h.store.faults.hang({ method: "copy", times: 1 });
  for (const name of names) await save(name);
  // The first of the copies hangs; all the others arrive, and what they were made from goes.
  await h.until(() => temporary().length === 1);
  const [late] = names.filter((name) => h.store.peek(`${name}.tmp`));
  const there = names.filter((name) => h.store.peek(name));
  expect(there).toEqual(names.filter((name) => name !== late));
  expect([...h.store.keys()].sort()).toEqual([...there, `${late}.tmp`].sort());
  release();
  await h.until(() => temporary().length === 0 && h.wb.status().files.length === 0);
  expect(names.map((name) => h.text(name))).toEqual(names.map((name) => `of ${name}`));
  expect([...h.store.keys()].sort()).toEqual([...names].sort());
  expect([h.count("put"), h.count("copy"), h.count("delete")]).toEqual([12, 12, 12]);
});

test("what waits for a copy goes on when the file is removed before it is made", async () => {
  for (const name of ["a", "b"]) await save(name);
  for (const name of ["a", "b"]) await h.wb.drop(h.wb.find(name)!);
  await h.until(() => h.store.keys().length === 0);
  expect([h.count("put"), h.count("copy")]).toEqual([2, 0]);
});
