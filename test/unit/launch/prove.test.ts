import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readSomething } from "../../../src/launch/worker/prove.ts";

let mount: string;
beforeEach(() => {
  mount = mkdtempSync(join(tmpdir(), "hawser-prove-"));
});
afterEach(() => rmSync(mount, { recursive: true, force: true }));

test("another node's proof is not what is read", async () => {
  writeFileSync(join(mount, ".hawser-proof-other"), "theirs");
  expect(await readSomething(mount)).toBeUndefined();
  writeFileSync(join(mount, "a.txt"), "alpha");
  expect(await readSomething(mount)).toBe(join(mount, "a.txt"));
});

test("a file that goes between the listing and the reading is passed over, and one that cannot be read is not", async () => {
  for (const name of ["a", "b"]) writeFileSync(join(mount, name), name);
  const opened: string[] = [];
  const openFile: typeof open = (path, flags) => {
    opened.push(String(path));
    if (opened.length === 1) rmSync(path);
    return open(path, flags);
  };
  const read = await readSomething(mount, openFile);
  expect(opened).toHaveLength(2);
  expect(read).toBe(opened[1]);
  const refused: typeof open = () =>
    Promise.reject(Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" }));
  await expect(readSomething(mount, refused)).rejects.toMatchObject({ code: "EACCES" });
});
