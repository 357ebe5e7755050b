import { afterEach, beforeEach, expect, test } from "vitest";

import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { element, elements, send, type RawRequest } from "./http.ts";

let t: TestS3;
const root = `/${TEST_BUCKET}`;
const ask = (more: Partial<RawRequest> = {}) => send(t.s3, { path: `${root}/k`, ...more });
const put = (body: string, key = "k") => ask({ method: "PUT", body, path: `${root}/${key}` });
const keepVersions = (status: string) =>
  ask({
    method: "PUT",
    path: root,
    query: { versioning: "" },
    body: `<VersioningConfiguration><Status>${status}</Status></VersioningConfiguration>`,
  });
const list = async (query: Record<string, string> = {}) =>
  (await ask({ path: root, query: { versions: "", ...query } })).text;
beforeEach(async () => void (t = await startTestS3()));
afterEach(() => t.close());

test("versions stay readable, a delete marker hides them and can be removed", async () => {
  await put("before");
  await keepVersions("Enabled");
  const one = (await put("one")).headers["x-amz-version-id"]!;
  const two = (await put("two")).headers["x-amz-version-id"]!;
  expect((await ask()).text).toBe("two");
  expect((await ask({ query: { versionId: one } })).text).toBe("one");
  expect((await ask({ query: { versionId: "null" } })).text).toBe("before");

  const gone = await ask({ method: "DELETE" });
  const marker = gone.headers["x-amz-version-id"]!;
  expect([gone.status, gone.headers["x-amz-delete-marker"]]).toEqual([204, "true"]);
  const hidden = await ask();
  expect([hidden.status, hidden.headers["x-amz-delete-marker"]]).toEqual([404, "true"]);
  expect((await ask({ query: { versionId: marker } })).code).toBe("MethodNotAllowed");
  expect(elements(await list(), "VersionId")).toEqual([marker, two, one, "null"]);
  expect((await ask({ path: root, query: { "list-type": "2" } })).text).not.toContain("<Key>");

  await ask({ method: "DELETE", query: { versionId: marker } });
  expect((await ask()).text).toBe("two");
  await ask({ method: "DELETE", query: { versionId: two } });
  expect((await ask()).text).toBe("one");
  expect((await ask({ query: { versionId: two } })).code).toBe("NoSuchVersion");
});

test("suspended, a PUT replaces only the null version", async () => {
  await keepVersions("Enabled");
  const one = (await put("one")).headers["x-amz-version-id"]!;
  await keepVersions("Suspended");
  await put("two");
  await put("three");
  expect(elements(await list(), "VersionId")).toEqual(["null", one]);
  expect((await ask({ query: { versionId: one } })).text).toBe("one");
});

test("version listings page within a key and fold folders", async () => {
  await keepVersions("Enabled");
  for (const body of ["1", "2", "3"]) await put(body);
  await put("x", "d/x");
  await put("z", "z");
  const found: string[] = [];
  let markers: Record<string, string> = {};
  for (let more = true; more;) {
    const text = await list({ "max-keys": "2", delimiter: "/", ...markers });
    found.push(...elements(text, "Key"), ...elements(text, "Prefix").slice(1));
    markers = {
      "key-marker": element(text, "NextKeyMarker") ?? "",
      "version-id-marker": element(text, "NextVersionIdMarker") ?? "",
    };
    more = element(text, "IsTruncated") === "true";
  }
  expect(found.sort()).toEqual(["d/", "k", "k", "k", "z"]);
});

test("a copy can name a version of its source", async () => {
  await keepVersions("Enabled");
  const one = (await put("one")).headers["x-amz-version-id"]!;
  await put("two");
  const source = `${root}/k?versionId=${one}`;
  const copied = await ask({ method: "PUT", path: `${root}/copy`, headers: { "x-amz-copy-source": source } });
  expect(copied.headers["x-amz-copy-source-version-id"]).toBe(one);
  expect((await ask({ path: `${root}/copy` })).text).toBe("one");
});
