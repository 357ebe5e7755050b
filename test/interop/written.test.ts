/**
 * What Hawser writes, read by others: boto3, the AWS CLI and s5cmd get the bytes that programs wrote through a mount, with
 * content type, mode and time, from every server. The objects are made in each of the ways Hawser has of making them.
 */
import { execFile } from "node:child_process";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect } from "vitest";
import { PROGRAM } from "../e2e/harness.ts";
import { pipTools } from "../support/pip-tools.ts";
import { describeCases, runClient, type Case } from "./cases.ts";
import type { InteropServer } from "./servers.ts";
import { MIB, digests, inScratch, scratch, type Scratch } from "./trees.ts";

const PREFIX = "written/";
/** Parts are 8 MiB and up: this takes several. */
const MANY_PARTS = 37 * MIB + 11;

const execute = promisify(execFile);

/**
 * Makes files in the current folder, on a local disk and on a mount. `between` runs when the first ones are in the bucket: what
 * follows it changes objects instead of making them.
 */
const MAKE = String.raw`
set -e
umask 022
noise() { python3 -c "import random, sys; sys.stdout.buffer.write(random.Random($1).randbytes($2))"; }
: > empty
: > "empty with space.json"
printf x > one
noise 1 100001 > "with space.txt"
noise 2 1048576 > "plus+and&amp=#?.bin"
mkdir -p "ünï cödé" "deep/a/b"
noise 3 5000 > "ünï cödé/日本 😀.png"
echo '{"a": 1}' > deep/a/b/config.json
noise 4 ${MANY_PARTS} > "large file.pt"
noise 5 ${MANY_PARTS} > appended.pt
noise 6 ${MANY_PARTS} > patched.pt
noise 7 300000 > renamed-before.bin
noise 8 300000 > "mode bits"
cp appended.pt moved.tmp
eval "$BETWEEN"
printf 'and more' >> appended.pt
printf 'in the middle' | dd of=patched.pt bs=1 seek=20000000 conv=notrunc status=none
mv renamed-before.bin "renamed after ü+.bin"
mv moved.tmp moved.pt
chmod 750 "mode bits"
touch -d '2001-02-03 04:05:06.789Z' "with space.txt" empty
`;

interface Written {
  /** The same files on a local disk. */
  local: string;
  /** SHA-256 by path. */
  tree: Record<string, string>;
  at: Scratch;
}

const TOUCHED_MS = Date.parse("2001-02-03T04:05:06.789Z");

/** One writing for each server; what the cases have to read. */
const written = new Map<InteropServer, Promise<Written>>();

function writtenTo(server: InteropServer): Promise<Written> {
  const made = written.get(server) ?? write(server);
  written.set(server, made);
  return made;
}

async function write(server: InteropServer): Promise<Written> {
  const at = await scratch();
  const local = at.path("local");
  const mount = at.path("mnt");
  const environment = {
    ...process.env,
    ...server.environment,
    HAWSER_STATE_DIR: at.path("state"),
    HOME: at.folder,
  };
  const hawser = (...args: string[]) => execute(process.execPath, [PROGRAM, ...args], { env: environment });
  const make = (folder: string, between: string) =>
    execute("bash", ["-c", MAKE], { cwd: folder, env: { ...environment, BETWEEN: between } });
  await mkdir(local);
  await mkdir(mount);
  await make(local, ":");
  await hawser("mount", `s3://${server.bucket}/${PREFIX}`, mount, "--writable");
  try {
    await make(mount, `"${process.execPath}" "${PROGRAM}" flush "${mount}" 2> /dev/null`);
  } finally {
    await hawser("unmount", mount);
  }
  return { local, tree: await digests(local), at };
}

afterAll(async () => {
  for (const made of written.values()) await made.then(({ at }) => at.remove());
});

async function client(
  server: InteropServer,
  tool: "awscli" | "s5cmd" | "boto3",
  program: string,
  ...args: string[]
): Promise<string> {
  const tools = await pipTools(tool);
  return runClient(tools.program(program), args, server.environment);
}

const CONTENT_TYPES: Record<string, string> = {
  "empty with space.json": "application/json",
  "with space.txt": "text/plain",
  "ünï cödé/日本 \u{1f600}.png": "image/png",
  "deep/a/b/config.json": "application/json",
};

/** Every object below a prefix as boto3 reads it, one line of JSON each. */
const BOTO3 = `
import boto3, hashlib, json, sys
from botocore.config import Config
s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
bucket, prefix = sys.argv[1:]
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    for entry in page.get("Contents", []):
        got = s3.get_object(Bucket=bucket, Key=entry["Key"])
        body = got["Body"].read()
        assert len(body) == entry["Size"] == got["ContentLength"] and got["ETag"] == entry["ETag"]
        head = s3.head_object(Bucket=bucket, Key=entry["Key"])
        assert head["Metadata"] == got["Metadata"] and head["ContentType"] == got["ContentType"]
        print(json.dumps({
            "path": entry["Key"][len(prefix):], "sha256": hashlib.sha256(body).hexdigest(), "etag": got["ETag"],
            "type": got["ContentType"], "mode": int(got["Metadata"]["mode"]), "mtime": float(got["Metadata"]["mtime"]),
        }))
`;

interface Read {
  path: string;
  sha256: string;
  etag: string;
  type: string;
  mode: number;
  mtime: number;
}

const CASES: Case[] = [
  {
    name: "boto3 reads what Hawser wrote: bytes, content type, mode and time",
    async run(server) {
      const { tree, local } = await writtenTo(server);
      const output = await client(server, "boto3", "python", "-c", BOTO3, server.bucket, PREFIX);
      const objects = output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Read);
      expect(Object.fromEntries(objects.map(({ path, sha256 }) => [path, sha256]))).toEqual(tree);
      for (const { path, type, mode, mtime, etag } of objects) {
        expect(`${path}: ${type}`).toBe(`${path}: ${CONTENT_TYPES[path] ?? "application/octet-stream"}`);
        const there = await stat(join(local, path));
        expect(`${path}: ${mode.toString(8)}`).toBe(`${path}: ${there.mode.toString(8)}`);
        const touched = there.mtimeMs === TOUCHED_MS;
        if (touched) expect(mtime * 1000).toBe(TOUCHED_MS);
        else expect(Math.abs(mtime - Date.now() / 1000)).toBeLessThan(600);
        if (path === "large file.pt") expect(etag).toMatch(/^"[0-9a-f]{32}-[2-9]\d*"$/);
      }
      expect(objects.filter(({ mtime }) => mtime * 1000 === TOUCHED_MS)).toHaveLength(2);
    },
  },
  {
    name: "aws sync reads what Hawser wrote",
    run: (server) =>
      inScratch(async (at) => {
        const { tree } = await writtenTo(server);
        const remote = `s3://${server.bucket}/${PREFIX}`;
        await client(server, "awscli", "aws", "s3", "sync", remote, at.path("down"), "--only-show-errors");
        expect(await digests(at.path("down"))).toEqual(tree);
        const key = `${PREFIX}with space.txt`;
        const object = ["--bucket", server.bucket, "--key", key, "--output", "json"];
        const head = JSON.parse(
          await client(server, "awscli", "aws", "s3api", "head-object", ...object),
        ) as Head;
        expect(head).toMatchObject({ ContentType: "text/plain", ContentLength: 100_001 });
        expect(head.Metadata).toMatchObject({ mode: String(0o100644), mtime: String(TOUCHED_MS / 1000) });
      }),
  },
  {
    name: "s5cmd reads what Hawser wrote",
    run: (server) =>
      inScratch(async (at) => {
        const { tree } = await writtenTo(server);
        const remote = `s3://${server.bucket}/${PREFIX}`;
        await client(server, "s5cmd", "s5cmd", "cp", "--part-size", "5", `${remote}*`, `${at.path("down")}/`);
        expect(await digests(at.path("down"))).toEqual(tree);
        expect(await client(server, "s5cmd", "s5cmd", "cat", `${remote}deep/a/b/config.json`)).toBe(
          '{"a": 1}\n',
        );
      }),
  },
];

interface Head {
  Metadata: Record<string, string>;
}

describeCases(CASES);
