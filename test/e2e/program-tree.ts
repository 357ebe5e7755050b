/**
 * A tree of the kinds of files that programs meet, on local disk and, byte by byte the same, in a bucket.
 *
 * The local copy is what every program is compared with.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, lstat, mkdir, readFile, readdir, readlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { MiB } from "../../src/common/units.ts";

const run = promisify(execFile);

/** Names that go wrong where somebody quotes, splits or counts characters. */
export const ODD_NAMES = [
  "with space",
  "ünïcödé 名前 🚀",
  "new\nline",
  "tab\tand \"quotes\" 'too'",
  "back\\slash",
  "-dash",
  ".dot",
  "%2F+&*?[x]#",
  "n".repeat(255),
  `${"é".repeat(127)}x`,
];

export const SIZES = {
  empty: 0,
  "one-byte": 1,
  "mib-minus-one": MiB - 1,
  mib: MiB,
  "mib-plus-one": MiB + 1,
  "ten-mib": 10 * MiB + 4321,
} as const;

/** Bytes that no two offsets share by accident, and that are the same in every run. */
export function noise(length: number, seed: string): Buffer {
  if (length === 0) return Buffer.alloc(0);
  return createHash("shake256", { outputLength: length }).update(seed).digest();
}

/** Makes the tree below `root`, which must be an empty folder. */
export async function makeTree(root: string): Promise<void> {
  const write = async (name: string, bytes: string | Uint8Array): Promise<void> => {
    const file = path.join(root, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, bytes);
  };
  for (const [name, length] of Object.entries(SIZES)) await write(`sizes/${name}`, noise(length, name));
  for (const name of ODD_NAMES) await write(`names/${name}`, `content of ${name}\n`);
  for (const name of ODD_NAMES.slice(0, 3)) await write(`names in/${name}/${name}`, `${name}, nested\n`);
  for (let index = 0; index < 200; index++) {
    const text = Array.from({ length: 20 }, (_line, line) => `line ${line} of file ${index}\n`).join("");
    await write(`text/${index % 7}/${index % 3}/file-${index}.txt`, text);
  }
  await write("bin/greet", '#!/bin/sh\necho "hello, $1, from $(basename "$0")"\n');
  await makeRepository(path.join(root, "repository.git"), path.join(root, "text"));
  await makeDatabase(path.join(root, "rows.sqlite"));
}

/** A bare repository with history, packed and loose objects, a tag and a branch. */
async function makeRepository(bare: string, content: string): Promise<void> {
  const work = `${bare}.work`;
  const git = (...args: string[]) =>
    run("git", ["-C", work, "-c", "user.name=Test", "-c", "user.email=test@example.com", ...args]);
  await cp(content, work, { recursive: true });
  await run("git", ["init", "-q", "-b", "main", work]);
  await git("add", "-A");
  await git("commit", "-q", "-m", "All files");
  await git("gc", "-q");
  await writeFile(path.join(work, "later"), "a loose object\n");
  await git("add", "-A");
  await git("commit", "-q", "-m", "One more");
  await git("tag", "-a", "v1", "-m", "First");
  await run("git", ["clone", "-q", "--bare", "--no-local", work, bare]);
  await run("rm", ["-r", work]);
  // S3 knows no empty folders; git wants to see refs, whatever is in it.
  await writeFile(path.join(bare, "refs/keep"), "");
  await run("find", [bare, "-type", "d", "-empty", "-delete"]);
}

async function makeDatabase(file: string): Promise<void> {
  const code = `
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("create table rows (id integer primary key, name text, value real)")
    db.executemany("insert into rows values (?, ?, ?)", ((i, f"row {i}", i / 7) for i in range(50000)))
    db.execute("create index by_name on rows (name)")
`;
  await run("python3", ["-c", code, file]);
}

/** Everything below a folder but folders: path from it, sorted by bytes. */
export async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/**
 * Puts every file below `root` into a bucket, with mode, owner and symlinks as s3fs keeps them.
 *
 * @param prefix of the keys, with its slash
 */
export async function uploadTree(client: S3Client, bucket: string, root: string, prefix = ""): Promise<void> {
  const names = await filesBelow(root);
  const put = async (name: string): Promise<void> => {
    const file = path.join(root, name);
    const found = await lstat(file);
    const body = found.isSymbolicLink() ? Buffer.from(await readlink(file)) : await readFile(file);
    const metadata = { mode: String(found.mode), mtime: String(found.mtimeMs / 1000) };
    await client.send(
      new PutObjectCommand({ Bucket: bucket, Key: prefix + name, Body: body, Metadata: metadata }),
    );
  };
  const next = names.values();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const name of next) await put(name);
    }),
  );
}
