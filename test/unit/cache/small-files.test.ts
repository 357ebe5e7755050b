import { closeSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { checksumsOf } from "../../../src/cache/cache-file.ts";
import { SmallFiles } from "../../../src/cache/small-files.ts";
import { native } from "../../../src/common/native.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-small-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

function contentOf(i: number): Buffer {
  return Buffer.from(`file ${i} `.repeat(i + 1));
}

test("what comes while files are made goes together with the next, each whole and with its own checksum", async () => {
  const createFiles = vi.spyOn(native(), "createFiles");
  const files = new SmallFiles();
  const made = Array.from({ length: 40 }, async (_, i) => {
    const crcs = new Uint32Array(1);
    closeSync(await files.create(join(folder, String(i)), contentOf(i), crcs));
    expect(readFileSync(join(folder, String(i)))).toEqual(contentOf(i));
    expect(crcs).toEqual(checksumsOf(contentOf(i)));
  });
  await Promise.all(made);
  expect(createFiles.mock.calls.map(([paths]) => paths.length)).toEqual([1, 32, 7]);
});

test("one that cannot be made fails alone, and later ones are made", async () => {
  writeFileSync(join(folder, "1"), "theirs");
  const files = new SmallFiles();
  const create = (i: number): Promise<number> =>
    files.create(join(folder, String(i)), contentOf(i), new Uint32Array(1));
  const results = await Promise.allSettled([create(0), create(1), create(2)]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(results[1]).toMatchObject({ reason: { code: "EEXIST" } });
  for (const result of results) if (result.status === "fulfilled") closeSync(result.value);
  closeSync(await create(3));
  expect(readFileSync(join(folder, "3"))).toEqual(contentOf(3));
});
