/** Names of a writable volume: made, removed and moved, pending or in the bucket. */
import { expect, test } from "vitest";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { MARKER_AFTER_MS } from "../../../src/vfs/folder-markers.ts";
import { caller, list, names, READ, resolve, settle, Sink, walk } from "./support.ts";
import {
  cat,
  locate,
  metadataOf,
  mkdir,
  mv,
  objects,
  put,
  readHandle,
  READ_WRITE,
  rm,
  rmdir,
  stat,
  writable,
} from "./writable-support.ts";

const CODE = (code: string): unknown => expect.objectContaining({ code });

test("W1 a new file is there at once, and in the bucket after it was closed", async () => {
  const { fs, bucket, writeBack } = await writable();
  await put(fs, "a.txt", "hello");
  expect(await cat(fs, "a.txt")).toBe("hello");
  expect(await names(fs)).toEqual(["a.txt"]);
  expect(await stat(fs, "a.txt")).toMatchObject({ sizeBytes: 5, mode: 0o644, uid: 1000, type: "file" });
  expect(await objects(bucket)).toEqual({});
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ "a.txt": "hello" });
  expect(await cat(fs, "a.txt")).toBe("hello");
});

test("W1 a publication changes neither node id nor size nor times", async () => {
  const { fs, clock, writeBack } = await writable();
  const nodeId = await put(fs, "a", "1");
  const before = await stat(fs, "a");
  clock.advance(5000);
  await writeBack.drain();
  expect(await stat(fs, "a")).toEqual(before);
  clock.advance(100_000);
  expect((await resolve(fs, "a")).nodeId).toBe(nodeId);
  expect(await stat(fs, "a")).toEqual(before);
});

test("a pending file outlives listings that do not know it", async () => {
  const { fs, clock } = await writable({ b: "1" });
  await put(fs, "a", "1");
  expect((await names(fs)).sort()).toEqual(["a", "b"]);
  clock.advance(70_000);
  expect((await names(fs)).sort()).toEqual(["a", "b"]);
  expect((await resolve(fs, "a")).nodeId).not.toBe(0);
});

test("a removed file does not come back with listings that were begun before", async () => {
  const { fs, bucket, clock, writeBack } = await writable({ "d/a": "1", "d/b": "2" });
  await resolve(fs, "d/a");
  await rm(fs, "d/a");
  expect(await walk(fs)).toEqual(["d/", "d/b"]);
  clock.advance(70_000);
  expect(await walk(fs)).toEqual(["d/", "d/b"]);
  // Begun before the bucket agrees, told after.
  clock.advance(70_000);
  bucket.hold((query) => query.prefix === "d/");
  const late = walk(fs);
  await settle();
  const held = bucket.waiting.length;
  await writeBack.drain();
  clock.advance(1);
  await bucket.letAll();
  expect(held).toBe(1);
  expect(await late).toEqual(["d/", "d/b"]);
  expect((await resolve(fs, "d/a")).nodeId).toBe(0);
  expect(await objects(bucket)).toEqual({ "d/b": "2" });
});

test("what somebody else puts under a removed name is seen once the removal is done", async () => {
  const { fs, bucket, clock, writeBack } = await writable({ a: "1" });
  await resolve(fs, "a");
  await rm(fs, "a");
  await writeBack.drain();
  clock.advance(70_000);
  bucket.seed("a", "theirs");
  expect(await cat(fs, "a")).toBe("theirs");
});

test("W5 O_EXCL refuses a name that is there; without it the file is opened", async () => {
  const { fs } = await writable({ a: "old" });
  const exclusive = { ...READ_WRITE, exclusive: true };
  await expect(fs.create(ROOT, "a", 0o644, exclusive, caller())).rejects.toEqual(CODE("exists"));
  const { open } = await fs.create(ROOT, "a", 0o644, READ_WRITE, caller());
  expect(await readHandle(fs, open.handle)).toBe("old");
  await fs.release(open.handle);
});

test("names that can be no key are refused", async () => {
  const { fs } = await writable();
  await expect(fs.create(ROOT, "x".repeat(256), 0o644, READ_WRITE, caller())).rejects.toEqual(
    CODE("name_too_long"),
  );
});

test("W6 an empty folder gets a marker after a second, one with content none", async () => {
  const { fs, bucket, clock, writeBack } = await writable();
  await mkdir(fs, "empty");
  await mkdir(fs, "full");
  await put(fs, "full/x", "1");
  clock.advance(MARKER_AFTER_MS);
  await settle();
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ "empty/": "", "full/x": "1" });
  clock.advance(70_000);
  expect(await walk(fs)).toEqual(["empty/", "full/", "full/x"]);
});

test("W6 a folder that became empty stays", async () => {
  const { fs, bucket, clock, writeBack } = await writable({ "d/x": "1" });
  await rm(fs, "d/x");
  expect(await walk(fs)).toEqual(["d/"]);
  await writeBack.drain();
  clock.advance(70_000);
  await settle();
  await writeBack.drain();
  expect(await walk(fs)).toEqual(["d/"]);
  expect(await objects(bucket)).toEqual({ "d/": "" });
});

test("W6 a tree that is removed at once leaves no marker behind", async () => {
  const { fs, bucket, clock, writeBack } = await writable({ "d/x": "1", "d/e/y": "2" });
  await rm(fs, "d/e/y");
  await rmdir(fs, "d/e");
  await rm(fs, "d/x");
  await rmdir(fs, "d");
  expect(await walk(fs)).toEqual([]);
  clock.advance(2000);
  await settle();
  expect(await walk(fs)).toEqual([]);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({});
  clock.advance(70_000);
  expect(await walk(fs)).toEqual([]);
});

test("rmdir refuses what is not empty, as far as the bucket knows", async () => {
  const { fs } = await writable({ "d/x": "1", f: "1" });
  await expect(rmdir(fs, "d")).rejects.toEqual(CODE("not_empty"));
  await expect(rmdir(fs, "f")).rejects.toEqual(CODE("not_a_directory"));
  await expect(rm(fs, "d")).rejects.toEqual(CODE("is_a_directory"));
  await expect(rm(fs, "none")).rejects.toEqual(CODE("not_found"));
  await expect(rmdir(fs, "none")).rejects.toEqual(CODE("not_found"));
});

test("a folder made anew in place of a removed one is empty, whatever the bucket still has", async () => {
  const { fs, clock } = await writable({ "d/x": "1" });
  await rm(fs, "d/x");
  await rmdir(fs, "d");
  await mkdir(fs, "d");
  expect(await walk(fs)).toEqual(["d/"]);
  clock.advance(70_000);
  expect(await walk(fs)).toEqual(["d/"]);
});

test("W7 a pending file is renamed without sending anything", async () => {
  const { fs, bucket, writeBack } = await writable();
  const nodeId = await put(fs, "a.tmp", "1");
  await mv(fs, "a.tmp", "a");
  expect((await resolve(fs, "a")).nodeId).toBe(nodeId);
  expect((await resolve(fs, "a.tmp")).nodeId).toBe(0);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "1" });
  expect(writeBack.asked.filter((asked) => asked.startsWith("move"))).toEqual([]);
});

test("W7 a file over another is published against that one", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "old" });
  await put(fs, "a.tmp", "new");
  await mv(fs, "a.tmp", "a");
  expect(await cat(fs, "a")).toBe("new");
  expect(writeBack.asked).toContain("rekey a.tmp a version");
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "new" });
});

test("W7 what is in the bucket is moved there, and read meanwhile", async () => {
  const { fs, bucket, clock, writeBack } = await writable({ a: "1", b: "2" });
  const { nodeId } = await resolve(fs, "a");
  await mv(fs, "a", "c");
  expect((await resolve(fs, "c")).nodeId).toBe(nodeId);
  expect(await cat(fs, "c")).toBe("1");
  clock.advance(70_000);
  expect(await walk(fs)).toEqual(["b", "c"]);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ b: "2", c: "1" });
  expect(await cat(fs, "c")).toBe("1");
  clock.advance(70_000);
  expect((await resolve(fs, "c")).nodeId).toBe(nodeId);
});

test("a file renamed twice before the bucket knows ends under its last name", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "1" });
  await mv(fs, "a", "b");
  await mv(fs, "b", "c");
  expect(await cat(fs, "c")).toBe("1");
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ c: "1" });
  expect(await cat(fs, "c")).toBe("1");
});

test("W17 an inode number goes along with the file, and the old name's next file has another", async () => {
  const { fs } = await writable();
  await put(fs, "a", "1");
  const { ino } = await stat(fs, "a");
  await mv(fs, "a", "b");
  expect((await stat(fs, "b")).ino).toBe(ino);
  await put(fs, "a", "2");
  expect((await stat(fs, "a")).ino).not.toBe(ino);
});

test("W8 a folder is moved with everything below, pending or not", async () => {
  const { fs, bucket, clock, writeBack } = await writable({ "d/x": "1", "d/e/y": "2", "other/z": "3" });
  await put(fs, "d/new", "4");
  const { nodeId } = await resolve(fs, "d/e/y");
  await mv(fs, "d", "other/d");
  expect(await walk(fs)).toEqual([
    "other/",
    "other/d/",
    "other/d/e/",
    "other/d/e/y",
    "other/d/new",
    "other/d/x",
    "other/z",
  ]);
  expect((await resolve(fs, "other/d/e/y")).nodeId).toBe(nodeId);
  expect(await cat(fs, "other/d/e/y")).toBe("2");
  clock.advance(70_000);
  expect((await walk(fs)).filter((path) => path.startsWith("d"))).toEqual([]);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({
    "other/d/e/y": "2",
    "other/d/new": "4",
    "other/d/x": "1",
    "other/z": "3",
  });
  clock.advance(70_000);
  expect((await walk(fs)).length).toBe(7);
});

test("W8 a folder's marker goes with it", async () => {
  const { fs, bucket, writeBack } = await writable();
  bucket.seed("d/", "", { metadata: { mode: "16832" } });
  await mv(fs, "d", "e");
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ "e/": "" });
  expect((await metadataOf(bucket, "e/"))["mode"]).toBe("16832");
  expect((await stat(fs, "e")).mode).toBe(0o700);
});

test.each([
  ["d", "d/e/z", "invalid_argument"],
  ["d", "d2", "not_empty"],
  ["f", "d", "is_a_directory"],
  ["d", "f", "not_a_directory"],
  ["none", "f", "not_found"],
])("renaming %s to %s is refused with %s", async (from, to, code) => {
  const { fs } = await writable({ "d/x": "1", "d/e/y": "2", "d2/x": "1", f: "1" });
  await expect(mv(fs, from, to)).rejects.toEqual(CODE(code));
  expect(await walk(fs)).toEqual(["d/", "d/e/", "d/e/y", "d/x", "d2/", "d2/x", "f"]);
});

test("a folder replaces an empty one", async () => {
  const { fs, bucket, writeBack } = await writable({ "d/x": "1", "e/": "" });
  await mv(fs, "d", "e");
  expect(await walk(fs)).toEqual(["e/", "e/x"]);
  await writeBack.drain();
  expect((await objects(bucket))["e/x"]).toBe("1");
});

test("RENAME_NOREPLACE refuses a name that is there", async () => {
  const { fs } = await writable({ a: "1", b: "2" });
  await expect(mv(fs, "a", "b", { noReplace: true, exchange: false })).rejects.toEqual(CODE("exists"));
  await mv(fs, "a", "c", { noReplace: true, exchange: false });
  expect(await walk(fs)).toEqual(["b", "c"]);
});

test("RENAME_EXCHANGE exchanges files and folders", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "1", "d/x": "2" });
  await put(fs, "p", "3");
  await mv(fs, "a", "p", { noReplace: false, exchange: true });
  expect([await cat(fs, "a"), await cat(fs, "p")]).toEqual(["3", "1"]);
  await mv(fs, "d", "a", { noReplace: false, exchange: true });
  expect(await cat(fs, "d")).toBe("3");
  expect(await cat(fs, "a/x")).toBe("2");
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ "a/x": "2", d: "3", p: "1" });
});

test("a reader of a folder meets each name once while files are moved out and back", async () => {
  const { fs } = await writable({ "d/a": "1", "d/b": "1", "d/c": "1", "d/e": "1", x: "1" });
  const { nodeId } = await resolve(fs, "d");
  const { handle } = fs.opendir(nodeId, caller());
  const seen: string[] = [];
  const read = async (): Promise<boolean> => {
    const sink = new Sink(false, 1);
    await fs.readdir(handle, at, sink, caller());
    for (const entry of sink.entries) {
      seen.push(entry.name);
      at = entry.offset;
    }
    return sink.entries.length > 0;
  };
  let at = 0;
  while (seen.length < 3 && (await read()));
  expect(seen.slice(2)).toEqual(["a"]);
  await mv(fs, "d/a", "moved");
  await read();
  expect(seen.at(-1)).toBe("b");
  await mv(fs, "d/b", "b");
  await mv(fs, "b", "d/b");
  while (await read());
  expect(seen.slice(2)).toEqual(["a", "b", "c", "e"]);
  fs.releasedir(handle);
  expect(await names(fs, nodeId)).toEqual(["b", "c", "e"]);
});

test("W9 symbolic links are objects in s3fs's form", async () => {
  const { fs, bucket, writeBack } = await writable();
  const { nodeId } = await fs.symlink(ROOT, "link", "../target", caller());
  expect(await fs.readlink(nodeId, caller())).toBe("../target");
  expect(await stat(fs, "link")).toMatchObject({ type: "symlink", mode: 0o777, sizeBytes: 9 });
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ link: "../target" });
  expect((await metadataOf(bucket, "link"))["mode"]).toBe("41471");
  expect(await fs.readlink(nodeId, caller())).toBe("../target");
  expect((await list(fs)).map(({ type }) => type)).toEqual(["symlink"]);
});

test("W10 hard links are refused", async () => {
  const { fs } = await writable({ a: "1" });
  expect(() => fs.link()).toThrow("hard links");
});

test.each([
  ["file", 0o100600, 0, { mode: "33152" }],
  ["fifo", 0o010644, 0, { mode: "4516" }],
  ["socket", 0o140755, 0, { mode: "49645" }],
  ["char", 0o020666, 0x0103, { mode: "8630", rdev: "103" }],
  ["block", 0o060660, 0x0801, { mode: "25008", rdev: "801" }],
] as const)(
  "W10 a %s of mknod is an empty object in s3fs's form, and comes back",
  async (type, mode, rdev, kept) => {
    const { fs, bucket, writeBack } = await writable();
    await fs.mknod(ROOT, "node", mode, rdev, caller());
    const number = type === "char" || type === "block" ? rdev : undefined;
    const shown = { type, mode: mode & 0o7777, sizeBytes: 0, rdev: number };
    expect(await stat(fs, "node")).toMatchObject(shown);
    await mv(fs, "node", "moved");
    await writeBack.drain();
    expect(await stat(fs, "moved")).toMatchObject(shown);
    expect(await objects(bucket)).toEqual({ moved: "" });
    expect(await metadataOf(bucket, "moved")).toMatchObject(kept);
    const again = await writable();
    again.bucket.seed("moved", "", { metadata: await metadataOf(bucket, "moved") });
    expect(await stat(again.fs, "moved")).toMatchObject(shown);
    await rm(fs, "moved");
    await put(fs, "moved", "bytes");
    expect(await stat(fs, "moved")).toMatchObject({ type: "file", sizeBytes: 5, rdev: undefined });
  },
);

test("W10 bytes that call themselves a FIFO are a file; mknod makes neither folders nor links", async () => {
  const { fs, bucket } = await writable();
  bucket.seed("odd", "bytes", { metadata: { mode: "4516" } });
  expect(await stat(fs, "odd")).toMatchObject({ type: "file", mode: 0o644 });
  for (const mode of [0o040755, 0o120777])
    await expect(fs.mknod(ROOT, "x", mode, 0, caller())).rejects.toEqual(CODE("invalid_argument"));
});

test("W17 a renamed folder's ctime changes, and its mtime stays", async () => {
  const { fs, clock } = await writable({ "stored/x": "1" });
  await mkdir(fs, "new");
  for (const name of ["new", "stored"]) {
    const before = await stat(fs, name);
    clock.advance(10);
    await mv(fs, name, `${name}-moved`);
    const after = await stat(fs, `${name}-moved`);
    expect([after.mtimeMs, after.ctimeMs]).toEqual([before.mtimeMs, clock.now()]);
  }
});

test("W17 a new file under the name of one that was removed or replaced while open has another inode number", async () => {
  const { fs } = await writable({ stored: "1", other: "2" });
  await put(fs, "pending", "3");
  const inos: number[] = [];
  for (const name of ["stored", "pending"]) {
    const { nodeId, attributes } = await resolve(fs, name);
    const { handle } = await fs.open(nodeId, READ, caller());
    await rm(fs, name);
    await put(fs, name, "new");
    inos.push(attributes.ino, (await stat(fs, name)).ino);
    expect((await fs.getattr(nodeId, handle, caller())).attributes.ino).toBe(attributes.ino);
  }
  const { nodeId, attributes } = await resolve(fs, "stored");
  await fs.open(nodeId, READ, caller());
  await mv(fs, "other", "stored");
  await put(fs, "other", "new");
  await rm(fs, "stored");
  await put(fs, "stored", "new");
  inos.push((await stat(fs, "other")).ino, (await stat(fs, "stored")).ino);
  expect(inos).toContain(attributes.ino);
  expect(new Set(inos).size).toBe(inos.length);
});

test("W11 an unlinked file can be read to its end while it is open", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "in the bucket" });
  await put(fs, "p", "pending");
  const handles = [];
  for (const path of ["a", "p"]) {
    const { nodeId } = await resolve(fs, path);
    handles.push({ nodeId, ...(await fs.open(nodeId, READ, caller())) });
    await rm(fs, path);
  }
  await writeBack.drain();
  expect(await walk(fs)).toEqual([]);
  expect(await readHandle(fs, handles[0]!.handle)).toBe("in the bucket");
  expect(await readHandle(fs, handles[1]!.handle)).toBe("pending");
  const { attributes } = await fs.getattr(handles[1]!.nodeId, handles[1]!.handle, caller());
  expect(attributes).toMatchObject({ nlink: 0, sizeBytes: 7 });
  for (const { handle } of handles) await fs.release(handle);
  await settle();
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({});
});

test("W11 an unlinked file can be written while it is open, and its name used again", async () => {
  const { fs, bucket, writeBack } = await writable({ a: "old" });
  const { nodeId } = await resolve(fs, "a");
  const { handle } = await fs.open(nodeId, READ_WRITE, caller());
  await rm(fs, "a");
  const fresh = await put(fs, "a", "new");
  expect(fresh).not.toBe(nodeId);
  await fs.write(handle, 0, Buffer.from("OLD"), { killSuidGid: false }, caller());
  expect(await readHandle(fs, handle)).toBe("OLD");
  expect(await cat(fs, "a")).toBe("new");
  await fs.release(handle);
  await settle();
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "new" });
});

test("a folder's mtime changes with its entries", async () => {
  const { fs, clock } = await writable({ "d/x": "1" });
  const before = (await stat(fs, "d")).mtimeMs;
  clock.advance(10);
  await put(fs, "d/y", "1");
  const made = (await stat(fs, "d")).mtimeMs;
  clock.advance(10);
  await rm(fs, "d/y");
  const removed = (await stat(fs, "d")).mtimeMs;
  expect(made).toBeGreaterThan(before);
  expect(removed).toBeGreaterThan(made);
});

test("new files take the group of a folder with setgid, and new folders its bit", async () => {
  const { fs, bucket } = await writable();
  bucket.seed("d/", "", { metadata: { mode: "17901", gid: "77" } });
  await put(fs, "d/f", "1");
  await mkdir(fs, "d/e");
  expect(await stat(fs, "d/f")).toMatchObject({ gid: 77, uid: 1000 });
  expect(await stat(fs, "d/e")).toMatchObject({ gid: 77, mode: 0o2755 });
  const { parent } = await locate(fs, "d/e/x");
  expect(parent).not.toBe(0);
});

test("a path that is longer than a key may be is refused, not lost", async () => {
  const { fs, writeBack } = await writable();
  let path = "";
  for (let i = 0; i < 4; i++) {
    path += `${path === "" ? "" : "/"}${"d".repeat(250)}`;
    await mkdir(fs, path);
  }
  await put(fs, `${path}/${"s".repeat(18)}`, "1");
  await expect(put(fs, `${path}/${"f".repeat(50)}`, "1")).rejects.toEqual(CODE("name_too_long"));
  await put(fs, "x".repeat(30), "1");
  await expect(mv(fs, "x".repeat(30), `${path}/${"x".repeat(30)}`)).rejects.toEqual(CODE("name_too_long"));
  await expect(mv(fs, "d".repeat(250), "e".repeat(255))).rejects.toEqual(CODE("name_too_long"));
  expect(writeBack.asked.filter((asked) => asked.startsWith("rekey"))).toEqual([]);
});
