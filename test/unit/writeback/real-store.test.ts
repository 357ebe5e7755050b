/** Write-back over the S3 store and a server, with answers that lie, are missing or refuse. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { DEFAULT_CREDENTIALS } from "../../../src/devs3/index.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { S3Store } from "../../../src/store/s3-store.ts";
import { listRecovered } from "../../../src/writeback/recovered.ts";
import { openWriteBack } from "../../../src/writeback/open-write-back.ts";
import type { StagedFile, WriteBack } from "../../../src/writeback/write-back.ts";
import { startTestS3 } from "../../support/dev-s3.ts";
import type { TestS3 } from "../../support/dev-s3.ts";
import { PART, bytesOf } from "./harness.ts";

let server: TestS3;
let store: S3Store;
let folder: string;
let writeBack: WriteBack;
/** How often credentials were asked for. */
let fetched: number;
const told: string[] = [];

beforeEach(async () => {
  server = await startTestS3();
  fetched = 0;
  told.length = 0;
  store = await createObjectStore({
    bucket: server.bucket,
    endpoint: server.s3.url,
    region: server.s3.region,
    env: {},
    credentials: async () => {
      fetched++;
      const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
      return { accessKeyId, secretAccessKey };
    },
  });
  folder = await mkdtemp(join(tmpdir(), "hawser-real-store-"));
  writeBack = await openWriteBack({
    store,
    stagingDir: folder,
    clock: systemClock,
    logger: pino({ level: "silent" }),
    readBase: async () => 0,
    options: { keepFree: 0, partBytes: PART },
  });
  writeBack.onEvents({
    published: (_file, { key }) => void told.push(`published ${key}`),
    copied: () => undefined,
    conflict: ({ key }) => void told.push(`conflict ${key}`),
    failed: ({ key }, { code }) => void told.push(`failed ${key} ${code}`),
    settled: () => undefined,
  });
});

afterEach(async () => {
  server.s3.faults.clear();
  await writeBack.close();
  await store.close();
  await server.close();
  await rm(folder, { recursive: true });
});

async function write(key: string, bytes: Uint8Array, base?: string): Promise<StagedFile> {
  const file = await writeBack.stage(key, {
    base: base === undefined ? { kind: "absent" } : { kind: "version", etag: base },
    meta: {},
  });
  await file.openForWrite();
  await file.write(0, bytes);
  await file.flush();
  file.releaseWrite();
  return file;
}

async function stored(key: string, sizeBytes: number): Promise<Buffer> {
  const target = Buffer.alloc(sizeBytes);
  const { bytesRead } = await store.get({ key }, target);
  expect(bytesRead).toBe(sizeBytes);
  return target;
}

const SMALL = bytesOf(1000);
const LARGE = bytesOf(2 * PART + 10);

test.each([
  ["PutObject", SMALL],
  ["CreateMultipartUpload", LARGE],
  ["UploadPart", LARGE],
  ["CompleteMultipartUpload", LARGE],
])(
  "a 500 to a %s that took effect: published once, whole, no conflict, no upload left",
  async (operation, bytes) => {
    const fault = server.s3.faults.add({ operation, error: "InternalError", after: true, count: 1 });
    await write("key", bytes);
    await writeBack.flush();
    expect(fault.hits).toBe(1);
    expect(told).toEqual(["published key"]);
    expect((await stored("key", bytes.length)).equals(bytes)).toBe(true);
    await writeBack.tidy();
    expect(await store.listMultiparts("")).toEqual([]);
    expect(await listRecovered(join(folder, "recovered"))).toEqual([]);
  },
  60_000,
);

test.each([
  ["PutObject", SMALL],
  ["CompleteMultipartUpload", LARGE],
])("a connection cut after a %s took effect is no conflict", async (operation, bytes) => {
  server.s3.faults.add({ operation, cutAfterBytes: 0, after: true, count: 1 });
  await write("key", bytes);
  await writeBack.flush();
  expect(told).toEqual(["published key"]);
  expect((await stored("key", bytes.length)).equals(bytes)).toBe(true);
});

test("a 200 with an error inside is no success", async () => {
  const fault = server.s3.faults.add({
    operation: "CompleteMultipartUpload",
    error: "InternalError",
    in200: true,
    count: 1,
  });
  await write("key", LARGE);
  await writeBack.flush();
  expect(fault.hits).toBe(1);
  expect((await stored("key", LARGE.length)).equals(LARGE)).toBe(true);
});

test("credentials that expire during an upload are renewed, and no part that is there is sent again", async () => {
  const fault = server.s3.faults.add({ operation: "UploadPart", error: "ExpiredToken", skip: 1, count: 2 });
  await write("key", LARGE);
  await writeBack.flush();
  expect(fault.hits).toBe(2);
  expect(fetched).toBeGreaterThan(1);
  expect(told).toEqual(["published key"]);
  expect((await stored("key", LARGE.length)).equals(LARGE)).toBe(true);
});

test("an object that somebody else has changed stays; ours is in recovered, and counted", async () => {
  const { etag } = await store.put("key", Buffer.from("base"));
  await store.put("key", Buffer.from("theirs"));
  await write("key", SMALL, etag);
  await expect(writeBack.flush()).rejects.toMatchObject({ code: "object_changed" });
  expect((await stored("key", 6)).toString()).toBe("theirs");
  const [kept] = await listRecovered(join(folder, "recovered"));
  expect(kept).toMatchObject({ key: "key", reason: "conflict", sizeBytes: SMALL.length });
  expect(writeBack.status()).toMatchObject({ files: [], recovered: 1 });
  expect(told).toEqual(["conflict key"]);
});

test("a key that the store will never take is final: kept, shown, told to whoever waits, and not tried again", async () => {
  const key = `deep/${"x".repeat(1100)}`;
  const file = await write(key, SMALL);
  await expect(writeBack.flush()).rejects.toMatchObject({ code: "name_too_long" });
  expect(writeBack.status().files).toMatchObject([
    { key, state: "failed", lastError: { code: "name_too_long" } },
  ]);
  await expect(file.fsync()).rejects.toMatchObject({ code: "name_too_long" });
  expect(told.filter((line) => line.startsWith("failed"))).not.toHaveLength(0);
  // Its removal finds nothing to be removed.
  await writeBack.drop(file);
  await writeBack.remove({ key });
  await writeBack.flush();
  expect(writeBack.status()).toMatchObject({ files: [], items: 0 });
});
