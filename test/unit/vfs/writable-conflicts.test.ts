/** Somebody else has put another version there: who sees which, and who is told. */
import { describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { caller, READ, resolve } from "./support.ts";
import { open, cat, mkdir, objects, put, writable } from "./writable-support.ts";

test("a conflict shows what somebody else has put there, under another node id", async () => {
  const volume = await writable({ a: "base" });
  const { fs, bucket, writeBack } = volume;
  const nodeId = await put(fs, "a", "ours");
  bucket.seed("a", "theirs");
  await writeBack.drain();
  const entry = await resolve(fs, "a");
  expect(entry.nodeId).not.toBe(nodeId);
  expect(await cat(fs, "a")).toBe("theirs");
});

test("a version that somebody else puts there waits while a file is open", async () => {
  const volume = await writable({ a: "1" });
  const { fs, bucket, clock } = volume;
  const { handle, nodeId } = await open(volume, "a", READ);
  bucket.seed("a", "22");
  clock.advance(70_000);
  expect((await resolve(fs, "a")).nodeId).toBe(nodeId);
  await fs.release(handle);
  clock.advance(70_000);
  expect((await resolve(fs, "a")).nodeId).not.toBe(nodeId);
  expect(await cat(fs, "a")).toBe("22");
});

describe("W18 conflicts are told", () => {
  const lost = new HawserError("object_changed", "d/a is in recovered/x");

  test("by a flush of a path, of all below it, each time and after all is in the bucket", async () => {
    const { fs, bucket, writeBack } = await writable();
    await mkdir(fs, "d");
    await put(fs, "d/a", "1");
    writeBack.conflicts = lost;
    for (let times = 0; times < 2; times++) await expect(fs.flushBelow("d/")).rejects.toBe(lost);
    expect(await objects(bucket)).toMatchObject({ "d/a": "1" });
    const told = writeBack.asked.filter((asked) => asked.startsWith("tell"));
    expect(told).toEqual(["tellConflicts d/ standing", "tellConflicts d/ standing"]);
  });

  test("by an fsync of a folder, once, of all below it", async () => {
    const { fs, writeBack } = await writable({ "d/b": "2" });
    await put(fs, "d/a", "1");
    writeBack.conflicts = lost;
    const { handle } = fs.opendir((await resolve(fs, "d")).nodeId, caller());
    await expect(fs.fsyncdir(handle, false, caller())).rejects.toBe(lost);
    expect(writeBack.asked.at(-1)).toBe("tellConflicts d/ once");
    fs.releasedir(handle);
  });

  test("by an fsync of the file, of just its key", async () => {
    const volume = await writable({ a: "1" });
    const { handle } = await open(volume, "a");
    volume.writeBack.conflicts = lost;
    await expect(volume.fs.fsync(handle, false, caller())).rejects.toBe(lost);
    expect(volume.writeBack.asked.at(-1)).toBe("tellConflicts a exact");
    await volume.fs.release(handle);
  });

  test("with fsync: local by neither fsync", async () => {
    const volume = await writable({ "d/a": "1" }, { fsync: "local" });
    const { fs, writeBack } = volume;
    writeBack.conflicts = lost;
    const { handle } = await open(volume, "d/a");
    await fs.fsync(handle, false, caller());
    const folder = fs.opendir((await resolve(fs, "d")).nodeId, caller());
    await fs.fsyncdir(folder.handle, false, caller());
    expect(writeBack.asked.filter((asked) => asked.startsWith("tell"))).toEqual([]);
  });
});
