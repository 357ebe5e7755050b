/** Attributes of a writable volume: what is kept, in which form, and what it costs. */
import { expect, test } from "vitest";
import { withoutSetId } from "../../../src/vfs/attribute-changes.ts";
import type { NodeId, SetAttributes } from "../../../src/vfs/filesystem.ts";
import { formatFileMetadata, parseFileMetadata } from "../../../src/vfs/object-metadata.ts";
import { formatObjectTime, parseObjectTime } from "../../../src/common/object-time.ts";
import { caller, resolve } from "./support.ts";
import { metadataOf, mkdir, put, stat, writable } from "./writable-support.ts";
import type { WritableVolume } from "./writable-support.ts";

async function set({ fs }: WritableVolume, path: string, changes: SetAttributes): Promise<NodeId> {
  const { nodeId } = await resolve(fs, path);
  await fs.setattr(nodeId, changes, caller());
  return nodeId;
}

test.each([
  [1_700_000_000_000, "1700000000"],
  [1_700_000_000_500, "1700000000.5"],
  [1_700_000_000_123.456, "1700000000.123456"],
  [0, "0"],
  [-1, "-0.001"],
  [-1500, "-1.5"],
])("the time %d is written %j, and read back", (ms, text) => {
  expect(formatObjectTime(ms)).toBe(text);
  expect(parseObjectTime(text)).toBeCloseTo(ms, 3);
});

test("W9 metadata is written in s3fs's form and read back as it was", () => {
  const xattrs = new Map([["user.note", Buffer.from("hi")]]);
  const file = {
    mode: 0o640,
    uid: 5,
    gid: 6,
    mtimeMs: 1_700_000_000_250,
    ctimeMs: 1_700_000_001_000,
    atimeMs: 1_600_000_000_000,
    xattrs,
    foreign: { team: "vision" },
  };
  const { metadata, contentType } = formatFileMetadata("a.json", "file", file, { withMtime: true });
  expect(contentType).toBe("application/json");
  expect(metadata).toMatchObject({
    mode: "33184",
    uid: "5",
    gid: "6",
    mtime: "1700000000.25",
    team: "vision",
  });
  expect(parseFileMetadata(metadata)).toEqual({ ...file, type: "file" });
});

test.each([
  [0o4755, 0o755],
  [0o2755, 0o755],
  [0o2745, 0o2745],
  [0o6711, 0o711],
  [0o1777, 0o1777],
])("a write by somebody else makes mode %o %o", (before, after) => {
  expect(withoutSetId(before)).toBe(after);
});

test("W9 what is changed of a pending file goes with its upload", async () => {
  const volume = await writable();
  await put(volume.fs, "a", "1");
  await set(volume, "a", { mode: 0o600 });
  await set(volume, "a", { uid: 7, gid: 8 });
  await set(volume, "a", { mtimeMs: 981_173_106_500, atimeMs: 981_173_106_000 });
  const shown = { mode: 0o600, uid: 7, gid: 8, mtimeMs: 981_173_106_500, atimeMs: 981_173_106_000 };
  expect(await stat(volume.fs, "a")).toMatchObject(shown);
  await volume.writeBack.drain();
  expect(await stat(volume.fs, "a")).toMatchObject(shown);
  expect(volume.writeBack.asked).toEqual(["stage a absent"]);
  expect(await metadataOf(volume.bucket, "a")).toMatchObject({
    mode: "33152",
    uid: "7",
    gid: "8",
    mtime: "981173106.5",
  });
});

test("W9 an object's attributes change by a copy, and its node id, content type and foreign entries stay", async () => {
  const volume = await writable();
  const { fs, bucket, writeBack, clock } = volume;
  bucket.seed("a", "text", { contentType: "model/x", metadata: { team: "vision", mode: "33188" } });
  const { nodeId } = await resolve(fs, "a");
  const before = await stat(fs, "a");
  await set(volume, "a", { mode: 0o755 });
  expect(writeBack.asked).toEqual(["replaceMeta a"]);
  await writeBack.drain();
  const info = await bucket.head("a");
  expect(info.contentType).toBe("model/x");
  expect(info.metadata).toMatchObject({ team: "vision", mode: "33261" });
  const after = await stat(fs, "a");
  expect(after).toMatchObject({ mode: 0o755, mtimeMs: before.mtimeMs });
  clock.advance(70_000);
  expect((await resolve(fs, "a")).nodeId).toBe(nodeId);
  expect(await stat(fs, "a")).toEqual(after);
});

test("a change that changes nothing sends nothing", async () => {
  const volume = await writable();
  volume.bucket.seed("a", "1", { metadata: { mode: "33188", uid: "5", mtime: "1700000000" } });
  await set(volume, "a", { mode: 0o644, uid: 5 });
  await set(volume, "a", { mtimeMs: 1_700_000_000_000 });
  expect(volume.writeBack.asked).toEqual([]);
});

test("W6 a folder's attributes are its marker's", async () => {
  const volume = await writable();
  await mkdir(volume.fs, "d", 0o700);
  expect(volume.writeBack.asked).toEqual(["mark d/"]);
  await put(volume.fs, "d/x", "1");
  await set(volume, "d", { uid: 9 });
  await volume.writeBack.drain();
  expect(await metadataOf(volume.bucket, "d/")).toMatchObject({ mode: "16832", uid: "9" });
  expect(await stat(volume.fs, "d")).toMatchObject({ mode: 0o700, uid: 9, type: "directory" });
});

test("W9 user attributes are kept, others refused, and too many are no_space", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "1" });
  const { nodeId } = await resolve(fs, "a");
  const flags = { create: false, replace: false };
  const code = (name: string): unknown => expect.objectContaining({ code: name });
  await fs.setxattr(nodeId, "user.note", Buffer.from("hi"), flags, caller());
  expect(fs.listxattr(nodeId, caller())).toEqual(["user.note"]);
  await expect(
    fs.setxattr(nodeId, "user.note", Buffer.from("x"), { ...flags, create: true }, caller()),
  ).rejects.toEqual(code("exists"));
  await expect(
    fs.setxattr(nodeId, "user.none", Buffer.from("x"), { ...flags, replace: true }, caller()),
  ).rejects.toEqual(code("no_attribute"));
  await expect(fs.setxattr(nodeId, "security.x", Buffer.from("x"), flags, caller())).rejects.toEqual(
    code("not_supported"),
  );
  await expect(fs.setxattr(nodeId, "user.big", Buffer.alloc(3000), flags, caller())).rejects.toEqual(
    code("no_space"),
  );
  await writeBack.drain();
  expect((await metadataOf(bucket, "a"))["xattr"]).toBe(encodeURIComponent('{"user.note":"aGk="}'));
  expect(Buffer.from(await fs.getxattr(nodeId, "user.note", caller())).toString()).toBe("hi");
  await fs.removexattr(nodeId, "user.note", caller());
  expect(fs.listxattr(nodeId, caller())).toEqual([]);
  expect(() => fs.getxattr(nodeId, "user.note", caller())).toThrow(/no attribute/);
});

test("a write by another user clears suid", async () => {
  const volume = await writable();
  const { fs } = volume;
  await put(fs, "a", "1");
  const nodeId = await set(volume, "a", { mode: 0o4755 });
  const { handle } = await fs.open(
    nodeId,
    { read: true, write: true, append: false, truncate: false, exclusive: false, sync: false, direct: false },
    caller(),
  );
  await fs.write(handle, 0, Buffer.from("2"), { killSuidGid: true }, caller());
  expect((await stat(fs, "a")).mode).toBe(0o755);
  await fs.release(handle);
});
