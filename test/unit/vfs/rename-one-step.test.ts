/** A rename over a file that is not in the bucket is one step of the journal: a crash loses neither of the two. */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { Harness } from "../writeback/harness.ts";
import { filesystemOver, mkdir as makeFolder, mv, put } from "./writable-support.ts";

const LOG_HEADER_BYTES = 24;

let h: Harness;
let fs: WritableFilesystem;

beforeEach(async () => {
  h = await Harness.start();
  fs = await filesystemOver(h);
});

afterEach(async () => {
  await h.end();
});

/** Where the frames of a log end. */
function frameEnds(log: Buffer): number[] {
  const ends = [LOG_HEADER_BYTES];
  for (let at = LOG_HEADER_BYTES; at < log.length; at = ends.at(-1)!)
    ends.push(at + 8 + log.readUInt32LE(at));
  return ends;
}

/** What another process shows that finds so much of the journal. */
async function shownAfter(journal: Buffer): Promise<Record<string, string>> {
  const folder = join(h.folder, "again");
  await mkdir(folder);
  await cp(join(h.folder, "before"), join(folder, "files"), { recursive: true, preserveTimestamps: true });
  await writeFile(join(folder, "journal"), journal);
  const again = await Harness.start({ stagingDir: folder });
  const shown: Record<string, string> = {};
  for (const { file } of again.wb.restored())
    shown[file.key] = Buffer.from(await file.read(0, 100)).toString();
  await again.end();
  await rm(folder, { recursive: true });
  return shown;
}

test.each([
  ["a file", async () => undefined, "one", "two"],
  ["a file in another folder", async () => void (await makeFolder(fs, "d")), "one", "d/two"],
])(
  "W7 %s put over another: before or after, at every frame of the journal",
  async (_what, prepare, from, to) => {
    await prepare();
    await put(fs, from, "new content");
    await put(fs, to, "old content");
    // The local files are copied below, and their times less exactly: only a sealed one does not go by its time.
    await h.until(() => h.wb.status().files.every(({ state }) => state === "sealed"), 0);
    const before = (await readFile(join(h.folder, "journal"))).length;
    const files = join(h.folder, "files");
    await cp(files, join(h.folder, "before"), { recursive: true, preserveTimestamps: true });
    await mv(fs, from, to);
    const log = await readFile(join(h.folder, "journal"));
    const ends = frameEnds(log).filter((end) => end >= before);
    expect(ends.length).toBeGreaterThan(1);
    const seen: Record<string, string>[] = [];
    for (const end of ends) seen.push(await shownAfter(log.subarray(0, end)));
    expect(seen[0]).toEqual({ [from]: "new content", [to]: "old content" });
    expect(seen.at(-1)).toEqual({ [to]: "new content" });
    for (const state of seen) expect([seen[0], seen.at(-1)]).toContainEqual(state);
  },
);
