/** Attributes that are changed while the file's upload ends: the change is kept, and so is the file. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { SetAttributes } from "../../../src/vfs/filesystem.ts";
import type { WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { Harness } from "../writeback/harness.ts";
import { caller, READ, resolve } from "./support.ts";
import { filesystemOver, put } from "./writable-support.ts";

let h: Harness;
let fs: WritableFilesystem;
/** Called at each step of write-back. */
let onStep: () => void;

beforeEach(async () => {
  onStep = () => undefined;
  h = await Harness.start({ faultPoint: () => onStep() });
  fs = await filesystemOver(h);
});

afterEach(async () => {
  await fs.close();
  await h.end();
});

const CHANGES: [what: string, changes: SetAttributes, stored: Record<string, string>][] = [
  ["its time", { mtimeMs: 1_700_000_000_000 }, { mtime: "1700000000" }],
  ["its permissions", { mode: 0o600 }, { mode: String(0o100600) }],
  ["both", { mtimeMs: 1_600_000_000_000, mode: 0o640 }, { mtime: "1600000000", mode: String(0o100640) }],
];

test.each(CHANGES)("W9 %s changed at any step of the upload", async (_what, changes, stored) => {
  let steps = 0;
  onStep = () => steps++;
  await put(fs, "whole", "some text");
  await fs.flushBelow("");
  expect(steps).toBeGreaterThan(5);
  for (let at = 0; at < steps; at++) {
    const name = `file-${at}`;
    let step = 0;
    let changed: Promise<unknown> | undefined;
    const nodeId = await put(fs, name, "some text");
    onStep = () => {
      if (step++ === at) changed = fs.setattr(nodeId, changes, caller());
    };
    await h.until(() => h.text(name) !== undefined);
    await fs.flushBelow("");
    changed ??= fs.setattr(nodeId, changes, caller());
    await changed;
    await fs.flushBelow("");
    onStep = () => undefined;
    expect((await h.store.head(name)).metadata).toMatchObject(stored);
    expect(h.wb.status().files).toEqual([]);
    expect(await readNow(name)).toBe("some text");
    const { attributes } = await resolve(fs, name);
    if (changes.mtimeMs !== undefined) expect(attributes.mtimeMs).toBe(changes.mtimeMs);
    if (changes.mode !== undefined) expect(attributes.mode & 0o777).toBe(changes.mode);
  }
});

/** What the name stands for: the object as it is now. */
async function readNow(name: string): Promise<string> {
  const { nodeId } = await resolve(fs, name);
  const { handle } = await fs.open(nodeId, READ, caller());
  try {
    const reply = await fs.read(handle, 0, 100, caller());
    return Buffer.concat(reply.chunks).toString();
  } finally {
    await fs.release(handle);
  }
}
