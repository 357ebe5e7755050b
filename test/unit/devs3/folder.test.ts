import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";

import { pathComponents } from "../../../src/devs3/backing/paths.ts";
import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { element, elements, send, type RawRequest } from "./http.ts";

let outside: string;
let folder: string;
let t: TestS3;
const start = async () => void (t = await startTestS3({ folder }));
const restart = async () => {
  await t.close();
  await start();
};
beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "hawser-dev-s3-test-"));
  folder = join(outside, "root");
  await start();
});
afterEach(async () => {
  await t.close();
  await rm(outside, { recursive: true });
});

const ask = (key: string, more: Partial<RawRequest> = {}) =>
  send(t.s3, { path: `/${TEST_BUCKET}/${key}`, ...more });
const put = (key: string, body: string, headers: Record<string, string> = {}) =>
  ask(key, { method: "PUT", body, headers });
const list = async () =>
  elements((await send(t.s3, { path: `/${TEST_BUCKET}`, query: { "list-type": "2" } })).text, "Key");
const file = (...names: string[]) => join(folder, TEST_BUCKET, ...names);
const blobs = () => readdir(join(folder, ".hawser-dev-s3", "blobs"));

test("plain keys are plain files, and metadata outlives a restart", async () => {
  await put("a/b ü.txt", "content", { "x-amz-meta-m": "1", "content-type": "a/b", "x-amz-tagging": "t=1" });
  expect(await readFile(file("a", "b ü.txt"), "utf8")).toBe("content");
  const before = (await ask("a/b ü.txt")).headers;
  await restart();
  const after = await ask("a/b ü.txt");
  expect(after.text).toBe("content");
  expect(after.headers).toMatchObject({
    etag: before["etag"],
    "x-amz-meta-m": "1",
    "content-type": "a/b",
    "x-amz-tagging-count": "1",
  });
});

test("keys that are no paths are kept all the same, inside the folder", async () => {
  const odd = [
    "a//b",
    "../../escape",
    "./x",
    "dir/",
    "a/../../../b",
    "x".repeat(300),
    "a/".repeat(250),
    "\u0001",
    "/",
    "//",
    ".hawser-dev-s3/journal.jsonl",
  ];
  for (const key of odd) expect((await put(key, key)).status, key).toBe(200);
  await restart();
  for (const key of odd) expect((await ask(key)).text, key).toBe(key);
  expect(await list()).toHaveLength(odd.length);
  expect((await readdir(outside)).sort()).toEqual(["root"]);
  for (const key of odd) await ask(key, { method: "DELETE" });
  expect(await list()).toEqual([]);
  expect(await blobs()).toEqual([]);
});

test("no component of a mapped key can leave its folder", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(".", "/", "a", "\0", "\ufffd") }), (key) => {
      const components = pathComponents(key);
      if (!components) return;
      expect(components.join("/")).toBe(key);
      for (const name of components) expect(["", ".", ".."]).not.toContain(name);
    }),
  );
});

test("a key that is also a folder is kept, in either order", async () => {
  await put("a", "file");
  await put("a/b", "below");
  await put("c/d", "below");
  await put("c", "file");
  await restart();
  expect(await list()).toEqual(["a", "a/b", "c", "c/d"]);
  for (const [key, text] of [
    ["a", "file"],
    ["a/b", "below"],
    ["c", "file"],
    ["c/d", "below"],
  ] as const) {
    expect((await ask(key)).text, key).toBe(text);
  }
});

test("files that were there appear as objects, and those added later when asked for", async () => {
  await mkdir(file("sub"), { recursive: true });
  await writeFile(file("sub", "found.txt"), "found");
  expect((await ask("sub/found.txt")).text).toBe("found");
  await writeFile(file("other.txt"), "other");
  await mkdir(join(folder, "another-bucket"));
  await restart();
  expect(await list()).toEqual(["other.txt", "sub/found.txt"]);
  expect((await send(t.s3, { path: "/another-bucket", query: { "list-type": "2" } })).status).toBe(200);
  expect((await ask("other.txt", { method: "HEAD" })).headers["etag"]).toMatch(/^"[0-9a-f]{32}-1"$/);
});

test("a file changed behind the server's back is a new version, never new bytes under an old ETag", async () => {
  const etag = (await put("k", "before")).headers["etag"]!;
  await writeFile(file("k"), "after!");
  await utimes(file("k"), 1, 1);
  const got = await ask("k");
  expect([got.text, got.headers["etag"] === etag]).toEqual(["after!", false]);
  expect((await ask("k", { headers: { "if-match": etag } })).status).toBe(412);
  await rm(file("k"));
  expect((await ask("k", { method: "HEAD" })).status).toBe(404);
  expect(await list()).toEqual([]);
});

test("symbolic links are not followed, to read or to write", async () => {
  await mkdir(join(outside, "secret"));
  await writeFile(join(outside, "secret", "s"), "secret");
  await symlink(join(outside, "secret"), file("link"));
  await symlink(join(outside, "secret", "s"), file("linked-file"));
  await restart();
  expect(await list()).toEqual([]);
  expect((await ask("link/s")).status).toBe(404);
  expect((await ask("linked-file")).status).toBe(404);
  await put("link/s", "written");
  await put("linked-file", "written");
  expect(await readFile(join(outside, "secret", "s"), "utf8")).toBe("secret");
  expect((await ask("link/s")).text).toBe("written");
});

test("deleting the last key of a folder removes the folder, and its name is free again", async () => {
  await put("a/b/c", "1");
  await ask("a/b/c", { method: "DELETE" });
  expect(await readdir(file())).toEqual([]);
  await put("a", "2");
  expect(await readFile(file("a"), "utf8")).toBe("2");
});

test("puts and deletes of neighbours at once lose nothing", async () => {
  const work = Array.from({ length: 200 }, async (_, i) => {
    await put(`d/${i % 7}/${i}`, String(i));
    if (i % 2) await ask(`d/${i % 7}/${i}`, { method: "DELETE" });
  });
  await Promise.all(work);
  for (let i = 0; i < 200; i += 2) expect((await ask(`d/${i % 7}/${i}`)).text).toBe(String(i));
  expect(await list()).toHaveLength(100);
  expect(await blobs()).toEqual([]);
});

test("old versions and uploads under way outlive a restart", async () => {
  const versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
  await send(t.s3, { method: "PUT", path: `/${TEST_BUCKET}`, query: { versioning: "" }, body: versioning });
  const one = (await put("k", "one")).headers["x-amz-version-id"]!;
  await put("k", "two");
  const uploadId = element((await ask("m", { method: "POST", query: { uploads: "" } })).text, "UploadId")!;
  const part = await ask("m", { method: "PUT", query: { uploadId, partNumber: "1" }, body: "part" });
  await restart();
  expect((await ask("k", { query: { versionId: one } })).text).toBe("one");
  expect(await readFile(file("k"), "utf8")).toBe("two");
  const complete = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers["etag"]}</ETag></Part></CompleteMultipartUpload>`;
  expect((await ask("m", { method: "POST", query: { uploadId }, body: complete })).status).toBe(200);
  expect(await readFile(file("m"), "utf8")).toBe("part");
  await ask("k", { method: "DELETE" });
  expect((await ask("k")).status).toBe(404);
  await restart();
  expect((await ask("k")).status).toBe(404);
  expect((await ask("k", { query: { versionId: one } })).text).toBe("one");
});

test("several parts become one plain file", async () => {
  const uploadId = element((await ask("m", { method: "POST", query: { uploads: "" } })).text, "UploadId")!;
  const five = "x".repeat(5 * 1024 * 1024);
  let parts = "";
  for (const [i, body] of [five, five, "tail"].entries()) {
    const { headers } = await ask("m", {
      method: "PUT",
      query: { uploadId, partNumber: String(i + 1) },
      body,
    });
    parts += `<Part><PartNumber>${i + 1}</PartNumber><ETag>${headers["etag"]}</ETag></Part>`;
  }
  const body = `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`;
  expect((await ask("m", { method: "POST", query: { uploadId }, body })).status).toBe(200);
  expect((await readFile(file("m"), "utf8")) === `${five}${five}tail`).toBe(true);
  expect(await blobs()).toEqual([]);
  const copied = await ask("copy", { method: "PUT", headers: { "x-amz-copy-source": `/${TEST_BUCKET}/m` } });
  expect(copied.status).toBe(200);
  expect((await readFile(file("copy"), "utf8")) === `${five}${five}tail`).toBe(true);
});

test("an upload that breaks off leaves the old object and no rest", async () => {
  await put("k", "old");
  t.s3.faults.add({ operation: "PutObject", cutUploadAfterBytes: 100_000 });
  await expect(put("k", "x".repeat(3_000_000))).rejects.toThrow();
  expect(await readFile(file("k"), "utf8")).toBe("old");
  await restart();
  expect(await blobs()).toEqual([]);
});
