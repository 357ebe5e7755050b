import { expect, test } from "vitest";
import { DiskWrites } from "../../../src/transfer/disk-writes.ts";

/** Writes that end when the test says so, and the ways they were told. */
function writes(disk: DiskWrites) {
  const begun: { name: string; end: () => void }[] = [];
  const work = (name: string): Promise<void> => new Promise((resolve) => begun.push({ name, end: resolve }));
  return {
    begun,
    names: () => begun.map(({ name }) => name),
    file: () => disk.file(1, (direct) => work(direct ? "around" : "through")),
    range: () => disk.range(() => work("range")),
  };
}

test("three files go around the page cache, one goes through, and the next waits for either", async () => {
  const { begun, names, file } = writes(new DiskWrites(0));
  const all = Array.from({ length: 6 }, file);
  expect(names()).toEqual(["around", "around", "around", "through"]);

  begun[3]!.end();
  await all[3];
  begun[0]!.end();
  await all[0];

  expect(names()).toEqual(["around", "around", "around", "through", "through", "around"]);
  for (const { end } of begun) end();
  await Promise.all(all);
});

test("a range never goes through the page cache, and holds up nobody who may", async () => {
  const { begun, names, file, range } = writes(new DiskWrites(0));
  const ranges = Array.from({ length: 4 }, range);
  const files = [file(), file()];
  expect(names()).toEqual(["range", "range", "range", "through"]);

  begun[3]!.end();
  await files[0];
  expect(names()).toEqual(["range", "range", "range", "through", "through"]);
  begun[0]!.end();
  await ranges[0];

  expect(names().at(-1)).toBe("range");
  for (const { end } of begun) end();
  await Promise.all([...ranges, ...files]);
});

test("a write that fails gives its place to the next", async () => {
  const disk = new DiskWrites(0);
  const failing = Array.from({ length: 5 }, () => disk.range(() => Promise.reject(new Error("no space"))));

  const outcomes = await Promise.allSettled(failing);

  expect(outcomes.every(({ status }) => status === "rejected")).toBe(true);
  expect(await disk.range(() => Promise.resolve("written"))).toBe("written");
});

test("what is written first goes through the page cache, as long as there is memory for it", async () => {
  const disk = new DiskWrites(10);
  const ways: string[] = [];
  const write = (direct: boolean): Promise<void> => {
    ways.push(direct ? "around" : "through");
    return Promise.resolve();
  };

  for (const bytes of [6, 5, 4, 1]) await disk.file(bytes, write);

  expect(ways).toEqual(["through", "around", "through", "around"]);
});
