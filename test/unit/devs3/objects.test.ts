import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";

import { startTestS3, type TestS3 } from "../../support/dev-s3.ts";

let t: TestS3;
beforeEach(async () => void (t = await startTestS3()));
afterEach(() => t.close());

test("an object comes back as it was put, with its headers and metadata", async () => {
  const put = await t.client.send(
    new PutObjectCommand({
      Bucket: t.bucket,
      Key: "a/ü b+c.txt",
      Body: "hello",
      ContentType: "text/plain",
      CacheControl: "no-cache",
      Metadata: { mode: "33188" },
    }),
  );
  expect(put.ETag).toBe('"5d41402abc4b2a76b9719d911017c592"');

  const got = await t.client.send(new GetObjectCommand({ Bucket: t.bucket, Key: "a/ü b+c.txt" }));
  expect(await got.Body!.transformToString()).toBe("hello");
  expect(got).toMatchObject({
    ContentType: "text/plain",
    CacheControl: "no-cache",
    Metadata: { mode: "33188" },
  });

  const listed = await t.client.send(new ListObjectsV2Command({ Bucket: t.bucket, Prefix: "a/" }));
  expect(listed.Contents!.map((one) => one.Key)).toEqual(["a/ü b+c.txt"]);
});

test("a deleted object is gone", async () => {
  await t.client.send(new PutObjectCommand({ Bucket: t.bucket, Key: "k", Body: "x" }));
  await t.client.send(new DeleteObjectCommand({ Bucket: t.bucket, Key: "k" }));
  await expect(t.client.send(new HeadObjectCommand({ Bucket: t.bucket, Key: "k" }))).rejects.toMatchObject({
    name: "NotFound",
  });
});
