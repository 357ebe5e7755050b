/** What goes with every object of a writable volume: storage class, encryption, ACL, tags and content type. */
import {
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type HeadObjectCommandOutput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testClient } from "../support/dev-s3.ts";
import { World, runProgram } from "./harness.ts";

let world: World;
let client: S3Client;
beforeEach(async () => {
  world = await World.open();
  client = testClient(world.s3);
});
afterEach(async () => {
  client.destroy();
  await world.close();
});

const OPTIONS = [
  ["--storage-class", "STANDARD_IA"],
  ["--sse", "aws:kms"],
  ["--sse-kms-key-id", "key-of-the-team"],
  ["--acl", "bucket-owner-full-control"],
  ["--tags", "team=vision,run=a b"],
].flat();
const TAGS = { team: "vision", run: "a b" };
/** Larger than one part. */
const LARGE = 40_000_000;

async function change(mount: string, script: string): Promise<void> {
  const { code, stderr } = await runProgram("bash", ["-ec", `cd ${mount}\n${script}`]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
}

function head(key: string): Promise<HeadObjectCommandOutput> {
  return client.send(new HeadObjectCommand({ Bucket: world.bucket, Key: key }));
}

async function tagsOf(key: string): Promise<Record<string, string>> {
  const { TagSet } = await client.send(new GetObjectTaggingCommand({ Bucket: world.bucket, Key: key }));
  return Object.fromEntries(TagSet!.map(({ Key, Value }) => [Key!, Value!]));
}

async function expectAsAsked(key: string, contentType: string): Promise<void> {
  expect(await head(key)).toMatchObject({
    StorageClass: "STANDARD_IA",
    ServerSideEncryption: "aws:kms",
    SSEKMSKeyId: "key-of-the-team",
    ContentType: contentType,
  });
  expect(await tagsOf(key)).toEqual(TAGS);
}

test("the options of objects go with every upload, and stay over renames and changes of metadata", async () => {
  const mount = await world.mount(["--writable", ...OPTIONS]);
  const content = `yes | head -c ${LARGE}`;
  await change(mount, `echo '{}' > small.json; ${content} > large.tar; mkdir empty; ln -s small.json link`);
  expect(world.s3.requests.of("CompleteMultipartUpload").map(({ key }) => key)).toEqual(["large.tar"]);
  const made = {
    "small.json": "application/json",
    "large.tar": "application/x-tar",
    link: "application/octet-stream",
  };
  for (const [key, type] of Object.entries(made)) await expectAsAsked(key, type);
  await expectAsAsked("empty/", "application/x-directory");
  await change(mount, "mv small.json s.json; mv large.tar l.tar; mv empty moved");
  await expectAsAsked("s.json", "application/json");
  await expectAsAsked("l.tar", "application/x-tar");
  await expectAsAsked("moved/", "application/x-directory");
  await change(mount, "chmod 600 s.json l.tar; touch -d 2001-02-03 l.tar");
  await expectAsAsked("s.json", "application/json");
  await expectAsAsked("l.tar", "application/x-tar");
  await change(mount, "echo more >> s.json; echo more >> l.tar");
  await expectAsAsked("s.json", "application/json");
  await expectAsAsked("l.tar", "application/x-tar");
  const makes = world.s3.requests
    .of("PutObject", "CreateMultipartUpload", "CopyObject")
    .filter(({ status }) => status === 200);
  expect(makes.length).toBeGreaterThan(10);
  // The ACL is not told by a HEAD: it is asked for with each.
  expect(new Set(makes.map(({ headers }) => headers["x-amz-acl"]))).toEqual(
    new Set(["bucket-owner-full-control"]),
  );
});

test("SSE-S3 is asked for by --sse AES256", async () => {
  const mount = await world.mount(["--writable", "--sse", "AES256"]);
  await change(mount, "echo x > file; mv file moved; chmod 600 moved");
  expect(await head("moved")).toMatchObject({ ServerSideEncryption: "AES256" });
});

test("without options an object keeps its storage class, tags and content type when it is renamed or changed", async () => {
  await client.send(
    new PutObjectCommand({
      Bucket: world.bucket,
      Key: "model.bin",
      Body: "weights",
      StorageClass: "STANDARD_IA",
      Tagging: "team=audio",
      ContentType: "model/x",
      Metadata: { run: "7" },
    }),
  );
  const mount = await world.mount(["--writable"]);
  const kept = { StorageClass: "STANDARD_IA", ContentType: "model/x", Metadata: { run: "7" } };
  await change(mount, "mv model.bin other.bin");
  expect(await head("other.bin")).toMatchObject(kept);
  await change(mount, "chmod 600 other.bin");
  expect(await head("other.bin")).toMatchObject(kept);
  expect(await tagsOf("other.bin")).toEqual({ team: "audio" });
});

test("a name's extension says the content type, also when the file is renamed before it is sent", async () => {
  const mount = await world.mount(["--writable"]);
  // As long as it is open it is not sent.
  const page = "exec 3> page.tmp; echo x >&3; mv page.tmp page.html; exec 3>&-";
  await change(mount, `${page}; echo x > README; echo x > a.JPG`);
  expect((await head("page.html")).ContentType).toBe("text/html");
  expect((await head("README")).ContentType).toBe("application/octet-stream");
  expect((await head("a.JPG")).ContentType).toBe("image/jpeg");
});
