/** Full metadata: what objects say of themselves. */
import { expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { parseFileMetadata } from "../../../src/vfs/object-metadata.ts";
import { caller, list, resolve, volume } from "./support.ts";
import type { TestVolume } from "./support.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";

const NOTHING = { type: undefined, mode: undefined, uid: undefined, gid: undefined, mtimeMs: undefined };

test.each([
  [{}, NOTHING],
  [{ mode: "33188" }, { ...NOTHING, type: "file", mode: 0o644 }],
  [{ mode: "16877" }, { ...NOTHING, type: "directory", mode: 0o755 }],
  [{ mode: "41471" }, { ...NOTHING, type: "symlink", mode: 0o777 }],
  [{ mode: "420" }, { ...NOTHING, mode: 0o644 }],
  [{ mode: "0644x" }, NOTHING],
  [{ mode: "99999999" }, NOTHING],
  [
    { uid: "1000", gid: "0" },
    { ...NOTHING, uid: 1000, gid: 0 },
  ],
  [{ uid: "4294967295" }, NOTHING],
  [{ uid: "-1" }, NOTHING],
  [{ mtime: "1700000000" }, { ...NOTHING, mtimeMs: 1_700_000_000_000 }],
  [{ mtime: "1700000000.123456789" }, { ...NOTHING, mtimeMs: 1_700_000_000_123.456 }],
  [{ mtime: "2024-01-01" }, NOTHING],
])("R17 metadata %j is read", (metadata, expected) => {
  expect(parseFileMetadata(metadata)).toEqual(expected);
});

function full(): TestVolume {
  const test = volume({}, { metadata: "full" });
  test.bucket.seed("plain", "text");
  test.bucket.seed("script", "#!/bin/sh", {
    metadata: { mode: "33261", uid: "5", gid: "6", mtime: "1700000000" },
  });
  test.bucket.seed("link", "script", { metadata: { mode: "41471" } });
  test.bucket.seed("dir/", "", { metadata: { mode: "16832", uid: "9" } });
  test.bucket.seed("dir/x", "1");
  return test;
}

test("R17 with full metadata, mode, owner, times and links are the objects'", async () => {
  const { fs } = full();
  const attributes = { type: "file", mode: 0o755, uid: 5, gid: 6, mtimeMs: 1_700_000_000_000 };
  expect((await resolve(fs, "script")).attributes).toMatchObject(attributes);
  expect((await resolve(fs, "plain")).attributes).toMatchObject({ mode: 0o644, uid: 1000 });
  expect((await resolve(fs, "dir")).attributes).toMatchObject({ type: "directory", mode: 0o700, uid: 9 });
  const link = await resolve(fs, "link");
  expect(link.attributes.type).toBe("symlink");
  expect(await fs.readlink(link.nodeId, caller())).toBe("script");
});

test("R17 a folder's entries carry them too, for one HEAD a name", async () => {
  const { fs, bucket } = full();
  const types = (await list(fs)).map((entry) => `${entry.name} ${entry.type}`);
  expect(types).toEqual(["dir directory", "link symlink", "plain file", "script file"]);
  await list(fs);
  await resolve(fs, "script");
  expect(bucket.heads.sort()).toEqual(["dir/", "link", "plain", "script"]);
});

test("R17 a HEAD is sent again only when the object has changed", async () => {
  const { fs, bucket, clock } = full();
  await resolve(fs, "script");
  bucket.heads = [];
  clock.advance(61_000);
  await resolve(fs, "script");
  expect(bucket.heads).toEqual([]);
  bucket.seed("script", "#!/bin/sh", { metadata: { mode: "33152" } });
  clock.advance(61_000);
  expect((await resolve(fs, "script")).attributes.mode).toBe(0o600);
});

test("R17 with listing metadata nothing is asked and nothing is a link", async () => {
  const { bucket } = full();
  const listing = volume({}, { metadata: "listing" });
  for (const key of bucket.keys())
    listing.bucket.seed(key, bucket.peek(key)!, { metadata: { mode: "41471" } });
  expect((await resolve(listing.fs, "link")).attributes).toMatchObject({ type: "file", mode: 0o644 });
  expect(listing.bucket.heads).toEqual([]);
});

test("an object that changed since it was listed is looked up again", async () => {
  const { fs, bucket } = full();
  await list(fs);
  bucket.seed("new", "1");
  bucket.seed("plain", "longer text", { metadata: { mode: "33152" } });
  const { fs: other, bucket: same } = full();
  await other.lookup(ROOT, "nothing", caller());
  same.seed("plain", "longer text", { metadata: { mode: "33152" } });
  expect((await resolve(other, "plain")).attributes).toMatchObject({ sizeBytes: 11, mode: 0o600 });
});

test("a HEAD that fails is an error, and not kept", async () => {
  const { fs, bucket } = full();
  bucket.headFailure = new HawserError("access_denied", "no");
  await expect(resolve(fs, "plain")).rejects.toMatchObject({ code: "access_denied" });
  bucket.headFailure = undefined;
  expect((await resolve(fs, "plain")).attributes.type).toBe("file");
});
