/** What others have said of an object stays said, whatever is changed through the mount. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HeadObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { DEFAULT_CREDENTIALS } from "../../../src/devs3/index.ts";
import { silentLogger } from "../../../src/observe/logger.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { S3Store } from "../../../src/store/s3-store.ts";
import { createWritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import type { WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { openWriteBack } from "../../../src/writeback/open-write-back.ts";
import type { WriteBack } from "../../../src/writeback/write-back.ts";
import { startTestS3, testClient } from "../../support/dev-s3.ts";
import type { TestS3 } from "../../support/dev-s3.ts";
import { caller, PlainContent, resolve } from "./support.ts";
import { READ_WRITE, TRUNCATE } from "./writable-support.ts";

const GIVEN = {
  CacheControl: "max-age=60",
  ContentDisposition: 'attachment; filename="a.bin"',
  ContentEncoding: "gzip",
  ContentLanguage: "de",
  ContentType: "application/x-custom",
  WebsiteRedirectLocation: "/elsewhere",
};
const EXPIRES = "Thu, 01 Dec 2033 16:00:00 GMT";
const KEEP = { killSuidGid: false };

let server: TestS3;
let store: S3Store;
let folder: string;
let writeBack: WriteBack;
let fs: WritableFilesystem;

beforeEach(async () => {
  server = await startTestS3();
  const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
  store = await createObjectStore({
    bucket: server.bucket,
    endpoint: server.s3.url,
    region: server.s3.region,
    env: {},
    credentials: async () => ({ accessKeyId, secretAccessKey }),
  });
  folder = await mkdtemp(join(tmpdir(), "hawser-kept-headers-"));
  writeBack = await openWriteBack({
    store,
    stagingDir: folder,
    clock: systemClock,
    logger: silentLogger,
    readBase: async ({ key, etag }, offset, target) =>
      (await store.get({ key, offset, length: target.length, ifMatch: etag }, target)).bytesRead,
    options: { keepFree: 0 },
  });
  fs = await createWritableFilesystem({
    store,
    content: new PlainContent(store),
    clock: systemClock,
    logger: silentLogger,
    writeBack,
    options: { metadata: "full" },
  });
  const client = testClient(server.s3);
  await client.send(
    new PutObjectCommand({
      Bucket: server.bucket,
      Key: "a",
      Body: "some text",
      Metadata: { theirs: "said" },
      ...GIVEN,
      Expires: new Date(EXPIRES),
    }),
  );
  client.destroy();
});

afterEach(async () => {
  await fs.close();
  await writeBack.close();
  await store.close();
  await server.close();
  await rm(folder, { recursive: true });
});

async function write(flags: typeof READ_WRITE): Promise<void> {
  const { nodeId } = await resolve(fs, "a");
  const { handle } = await fs.open(nodeId, flags, caller());
  await fs.write(handle, 0, Buffer.from("SOME"), KEEP, caller());
  await fs.flush(handle, 0n, caller());
  await fs.release(handle);
}

test.each<[string, () => Promise<unknown>]>([
  ["chmod", async () => fs.setattr((await resolve(fs, "a")).nodeId, { mode: 0o600 }, caller())],
  ["utimes", async () => fs.setattr((await resolve(fs, "a")).nodeId, { mtimeMs: 1_000_000 }, caller())],
  [
    "setxattr",
    async () => {
      const flags = { create: false, replace: false };
      await fs.setxattr((await resolve(fs, "a")).nodeId, "user.x", Buffer.from("1"), flags, caller());
    },
  ],
  ["a change in place", async () => write(READ_WRITE)],
  ["a rewrite", async () => write(TRUNCATE)],
])("W9 %s keeps what others have given an object", async (_what, change) => {
  const before = (await store.head("a")).metadata["hawser-upload"];
  await change();
  await fs.flushBelow("");
  const client = testClient(server.s3);
  const head = await client.send(new HeadObjectCommand({ Bucket: server.bucket, Key: "a" }));
  client.destroy();
  for (const [name, value] of Object.entries(GIVEN)) expect(head).toHaveProperty(name, value);
  expect(head.ExpiresString).toBe(EXPIRES);
  expect(head.Metadata).toMatchObject({ theirs: "said" });
  expect(head.Metadata!["hawser-upload"]).not.toBe(before);
});
