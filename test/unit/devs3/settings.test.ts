import { afterEach, beforeEach, expect, test } from "vitest";

import { startTestS3, TEST_BUCKET, type TestS3 } from "../../support/dev-s3.ts";
import { element, elements, send, type RawRequest } from "./http.ts";

let t: TestS3;
const root = `/${TEST_BUCKET}`;
const ask = (more: Partial<RawRequest>) => send(t.s3, { path: `${root}/k`, ...more });
beforeEach(async () => void (t = await startTestS3({ restoreDelayMs: 3600_000 })));
afterEach(() => t.close());

test.each([
  ["lifecycle", "LifecycleConfiguration", "NoSuchLifecycleConfiguration"],
  ["publicAccessBlock", "PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration"],
  ["cors", "CORSConfiguration", "NoSuchCORSConfiguration"],
  ["replication", "ReplicationConfiguration", "ReplicationConfigurationNotFoundError"],
])("%s is kept as it was put, until deleted", async (name, document, missing) => {
  const at = { path: root, query: { [name]: "" } };
  const none = await ask(at);
  expect([none.status, none.code]).toEqual([404, missing]);
  const body = `<${document}><Rule><ID>a</ID></Rule></${document}>`;
  expect((await ask({ ...at, method: "PUT", body })).status).toBe(200);
  expect((await ask(at)).text).toBe(body);
  expect((await ask({ ...at, method: "PUT", body: "<Wrong/>" })).code).toBe("MalformedXML");
  expect((await ask({ ...at, method: "DELETE" })).status).toBe(204);
  expect((await ask(at)).code).toBe(missing);
});

test("a bucket is encrypted by default", async () => {
  expect((await ask({ path: root, query: { encryption: "" } })).text).toContain("AES256");
});

test("buckets: made, found, refused while not empty, deleted", async () => {
  const make = (name: string, body = "") => ask({ method: "PUT", path: `/${name}`, body });
  const elsewhere =
    "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
  expect((await make("new-bucket", elsewhere)).status).toBe(200);
  const location = await ask({ path: "/new-bucket", query: { location: "" }, region: "eu-west-1" });
  expect(location.text).toContain(">eu-west-1<");
  expect((await make(TEST_BUCKET)).status).toBe(200);
  expect((await make("new-bucket", elsewhere)).code).toBe("BucketAlreadyOwnedByYou");
  for (const bad of ["ab", "UPPER", "a..b", "192.168.0.1", "-a-"])
    expect((await make(bad)).code).toBe("InvalidBucketName");
  expect(elements((await ask({ path: "/" })).text, "Name")).toEqual(["new-bucket", TEST_BUCKET]);
  await ask({ method: "PUT", body: "x" });
  expect((await ask({ method: "DELETE", path: root })).code).toBe("BucketNotEmpty");
  await ask({ method: "DELETE" });
  expect((await ask({ method: "DELETE", path: root })).status).toBe(204);
  expect((await ask({ method: "HEAD", path: root })).status).toBe(404);
});

test("tags are put with the object, replaced and deleted", async () => {
  await ask({ method: "PUT", body: "x", headers: { "x-amz-tagging": "a=1&b=x%20y" } });
  const tags = { query: { tagging: "" } };
  expect(elements((await ask(tags)).text, "Value")).toEqual(["1", "x y"]);
  const tag = (name: string) => `<Tag><Key>${name}</Key><Value>v</Value></Tag>`;
  const replace = (...names: string[]) =>
    ask({ ...tags, method: "PUT", body: `<Tagging><TagSet>${names.map(tag).join("")}</TagSet></Tagging>` });
  expect((await replace("c")).status).toBe(200);
  expect((await replace("c", "c")).code).toBe("InvalidTag");
  expect((await replace(..."a,b,c,d,e,f,g,h,i,j,k".split(","))).code).toBe("InvalidTag");
  expect((await ask({ method: "HEAD" })).headers["x-amz-tagging-count"]).toBe("1");
  await ask({ ...tags, method: "DELETE" });
  expect(elements((await ask(tags)).text, "Key")).toEqual([]);
});

test("an archived object is read only once it is restored, and for its days", async () => {
  await ask({ method: "PUT", body: "cold", headers: { "x-amz-storage-class": "GLACIER" } });
  const archived = await ask({});
  expect([archived.status, archived.code, element(archived.text, "StorageClass")]).toEqual([
    403,
    "InvalidObjectState",
    "GLACIER",
  ]);
  const restore = () =>
    ask({
      method: "POST",
      query: { restore: "" },
      body: "<RestoreRequest><Days>2</Days></RestoreRequest>",
      nowMs,
    });
  const head = async () => (await ask({ method: "HEAD", nowMs })).headers["x-amz-restore"];
  let nowMs = Date.now();
  expect((await restore()).status).toBe(202);
  expect(await head()).toBe('ongoing-request="true"');
  expect((await restore()).code).toBe("RestoreAlreadyInProgress");
  t.s3.setClockSkew(3600_000);
  nowMs = Date.now() + 3600_000;
  expect((await ask({ nowMs })).text).toBe("cold");
  expect(await head()).toMatch(/^ongoing-request="false", expiry-date="/);
  expect((await restore()).status).toBe(200);
  t.s3.setClockSkew(5 * 86_400_000);
  nowMs = Date.now() + 5 * 86_400_000;
  expect((await ask({ nowMs })).code).toBe("InvalidObjectState");
});

test("an object that is not archived cannot be restored", async () => {
  await ask({ method: "PUT", body: "x" });
  expect((await ask({ method: "POST", query: { restore: "" }, body: "" })).code).toBe("InvalidObjectState");
});

test("encryption headers are echoed", async () => {
  const kms = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "key",
  };
  expect((await ask({ method: "PUT", body: "x", headers: kms })).headers).toMatchObject(kms);
  expect((await ask({ method: "HEAD" })).headers).toMatchObject(kms);
});
