import { afterEach, beforeEach, expect, test } from "vitest";
import { copyPartSize } from "../../../src/store/s3-copy.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { S3Store } from "../../../src/store/s3-store.ts";
import { ScriptedServer, s3Error } from "./scripted-server.ts";
import type { Responder } from "./scripted-server.ts";

const GiB = 1024 ** 3;
const SIZE = 5 * GiB + 1;

let server: ScriptedServer;
let store: S3Store;
let failPart: number | undefined;

/** As S3 answers: one copy is refused, so it is done in parts. */
const largeSource: Responder = (request, response) => {
  const { method, query } = request;
  const xml = (body: string): void =>
    void response.writeHead(200, { "content-type": "application/xml" }).end(body);
  if (method === "HEAD") {
    response.writeHead(200, {
      "content-length": String(SIZE),
      etag: '"source-9"',
      "content-type": "x/y",
      "x-amz-meta-mode": "33188",
      "last-modified": "Sun, 22 Nov 2026 02:00:00 GMT",
    });
    response.end();
    return;
  }
  if (method === "DELETE") return void response.writeHead(204).end();
  if (query.has("uploads"))
    return xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>");
  if (method === "POST")
    return xml('<CompleteMultipartUploadResult><ETag>"done-11"</ETag></CompleteMultipartUploadResult>');
  if (Number(query.get("partNumber")) === failPart)
    return void s3Error(403, "AccessDenied")(request, response);
  if (query.has("partNumber"))
    return xml(`<CopyPartResult><ETag>"p${query.get("partNumber")}"</ETag></CopyPartResult>`);
  return void s3Error(400, "InvalidRequest")(request, response);
};

beforeEach(async () => {
  server = new ScriptedServer();
  await server.listen();
  server.script = [largeSource];
  failPart = undefined;
  store = await createObjectStore({
    bucket: "data",
    endpoint: server.url,
    env: {},
    credentials: { accessKeyId: "A", secretAccessKey: "S" },
  });
});

afterEach(async () => {
  await store.close();
  await server.close();
});

test("an object above 5 GiB is copied in parts, on one version, with its metadata", async () => {
  expect(await store.copy({ key: "huge" }, "copy")).toEqual({ etag: "done-11" });
  const create = server.requests.find(({ query }) => query.has("uploads"));
  expect(create?.headers).toMatchObject({ "x-amz-meta-mode": "33188", "content-type": "x/y" });
  const ranges = server.requests
    .filter(({ query }) => query.has("partNumber"))
    .map(({ headers }) => {
      expect(headers["x-amz-copy-source-if-match"]).toBe('"source-9"');
      expect(headers["x-amz-copy-source"]).toBe("data/huge");
      return /^bytes=(\d+)-(\d+)$/.exec(String(headers["x-amz-copy-source-range"]))!.slice(1).map(Number);
    })
    .sort(([a], [b]) => a! - b!);
  expect(ranges.length).toBe(11);
  expect(ranges[0]![0]).toBe(0);
  expect(ranges.at(-1)).toEqual([5 * GiB, 5 * GiB]);
  for (let at = 1; at < ranges.length; at++) expect(ranges[at]![0]).toBe(ranges[at - 1]![1]! + 1);
});

test("a part that fails aborts the upload, and its error is told", async () => {
  failPart = 3;
  await expect(store.copy({ key: "huge" }, "copy")).rejects.toMatchObject({ code: "access_denied" });
  expect(server.requests.at(-1)).toMatchObject({ method: "DELETE", path: "/data/copy" });
});

test("parts stay within 10,000 for the largest object", () => {
  const largest = 50 * 1024 * GiB;
  expect(Math.ceil(largest / copyPartSize(largest))).toBeLessThanOrEqual(10_000);
});
