/** A name that was removed and taken by a new file before the bucket heard of it: what the mount shows of it afterwards. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { Harness, PART, bytesOf, turns } from "../writeback/harness.ts";
import { caller, names, resolve } from "./support.ts";
import { TRUNCATE, cat, filesystemOver, mv, put, rm } from "./writable-support.ts";

const WRITER = 77;

let h: Harness;
let fs: WritableFilesystem;
const killed = new Set<number>();
/** Lets the large upload go on that every removal waits for. */
let goOn: () => void;

beforeEach(async () => {
  killed.clear();
  h = await Harness.start();
  h.store.seed("a", "old");
  h.store.seed("b", "base");
  fs = await filesystemOver(h, killed);
  goOn = h.store.faults.hang({ method: "uploadPart" });
  await put(fs, "large", bytesOf(PART + 1).toString("latin1"));
  await h.until(() => h.count("createMultipart") === 1);
  await rm(fs, "a");
});

afterEach(async () => {
  goOn();
  await fs.close();
  await h.end();
});

/** What listings tell from now on is newer than all that was done. */
async function refresh(): Promise<void> {
  h.clock.advance(1000);
  await fs.refresh("");
}

async function isThere(name: string): Promise<boolean> {
  return (await resolve(fs, name)).nodeId !== 0;
}

/** `b` is rewritten by a program that is killed, and renamed to `a` before that one has let go of it. */
async function tearOver(target = "a"): Promise<void> {
  const { nodeId } = await resolve(fs, "b");
  const { handle } = await fs.open(nodeId, TRUNCATE, { ...caller(), pid: WRITER });
  await fs.write(handle, 0, Buffer.from("ne"), { killSuidGid: false }, caller());
  killed.add(WRITER);
  await fs.flush(handle, 0n, { ...caller(), pid: WRITER });
  await mv(fs, "b", target);
  // So long that nobody remembers by himself that the folder was empty before.
  h.clock.advance(2000);
  await turns(10);
  await fs.release(handle);
}

test("R7 what somebody else puts there after the new file was removed elsewhere is seen", async () => {
  await put(fs, "a", "new");
  goOn();
  await fs.flushBelow("");
  expect(h.text("a")).toBe("new");
  await h.store.delete("a");
  await refresh();
  expect(await isThere("a")).toBe(false);
  h.store.seed("a", "theirs");
  await refresh();
  expect(await cat(fs, "a")).toBe("theirs");
});

test("R7 what somebody else puts there is seen, also after it was in the new file's way", async () => {
  await put(fs, "a", "new");
  h.store.seed("a", "in the way");
  goOn();
  await expect(fs.flushBelow("")).rejects.toMatchObject({ code: "object_changed" });
  expect(await cat(fs, "a")).toBe("in the way");
  await h.store.delete("a");
  await refresh();
  expect(await isThere("a")).toBe(false);
  h.store.seed("a", "theirs");
  await refresh();
  expect(await cat(fs, "a")).toBe("theirs");
});

test("W15 a torn file that was renamed there leaves no name, neither before the object is gone nor after", async () => {
  const remove = h.store.faults.hang({ method: "delete", key: "a" });
  await tearOver();
  await h.until(() => h.wb.status().recovered === 1);
  expect(h.text("a")).toBe("old");
  expect(await isThere("a")).toBe(false);
  await refresh();
  expect(await names(fs)).toEqual(["large"]);
  goOn();
  remove();
  await fs.flushBelow("");
  expect(h.store.keys()).toEqual(["large"]);
  await refresh();
  expect(await names(fs)).toEqual(["large"]);
  h.store.seed("a", "theirs");
  await refresh();
  expect(await cat(fs, "a")).toBe("theirs");
});

test("W6 a folder of which a torn file was the last name keeps its place", async () => {
  h.store.seed("d/a", "old");
  await refresh();
  await rm(fs, "d/a");
  await tearOver("d/a");
  await h.until(() => h.wb.status().recovered === 1);
  expect(new Set(await names(fs))).toEqual(new Set(["d", "large"]));
  goOn();
  await fs.flushBelow("");
  expect(h.store.keys()).toEqual(["d/", "large"]);
});
