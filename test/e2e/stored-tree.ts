/**
 * A tree of files as text that can be compared: of a local folder, and of what a bucket holds.
 *
 * A file is its mode, size and checksum; a symbolic link its target. Folders count only where nothing is in them:
 * what S3 knows of the others is their content.
 */
import { createHash } from "node:crypto";
import { chmod, lstat, mkdir, readFile, readdir, readlink, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import {
  GetObjectCommand,
  ListMultipartUploadsCommand,
  type S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";

/** By path; that of an empty folder ends in a slash. */
export type Tree = Record<string, string>;

/** An object as it came. */
export interface StoredObject {
  bytes: Buffer;
  metadata: Record<string, string>;
  contentType: string | undefined;
  etag: string;
}

const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;

function fileLine(mode: number, bytes: Buffer): string {
  const sum = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
  return `${(mode & 0o7777).toString(8)} ${bytes.length} bytes ${sum}`;
}

function sorted(lines: [string, string][]): Tree {
  return Object.fromEntries(lines.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
}

/** What is below a local folder, or a mount. */
export async function folderTree(root: string): Promise<Tree> {
  const lines: [string, string][] = [];
  const walk = async (below: string): Promise<void> => {
    const names = await readdir(path.join(root, below));
    if (names.length === 0 && below !== "") lines.push([`${below}/`, "folder"]);
    for (const name of names) {
      const at = path.join(below, name);
      const found = await lstat(path.join(root, at));
      if (found.isDirectory()) await walk(at);
      else if (found.isSymbolicLink()) lines.push([at, `-> ${await readlink(path.join(root, at))}`]);
      else lines.push([at, fileLine(found.mode, await readFile(path.join(root, at)))]);
    }
  };
  await walk("");
  return sorted(lines);
}

/** Where one tree is not the other: a line for each path. */
export function differences(found: Tree, wanted: Tree): string[] {
  const paths = new Set([...Object.keys(wanted), ...Object.keys(found)]);
  return [...paths]
    .filter((at) => found[at] !== wanted[at])
    .map((at) => `${at} is ${found[at] ?? "not there"}, wanted ${wanted[at] ?? "nothing"}`);
}

/** Every object below a prefix, by the rest of its key. */
export async function storedObjects(
  client: S3Client,
  bucket: string,
  prefix: string,
): Promise<Map<string, StoredObject>> {
  const objects = new Map<string, StoredObject>();
  for await (const page of paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix })) {
    for (const { Key } of page.Contents ?? []) {
      const found = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
      objects.set(Key!.slice(prefix.length), {
        bytes: Buffer.from(await found.Body!.transformToByteArray()),
        metadata: found.Metadata ?? {},
        contentType: found.ContentType,
        etag: found.ETag!,
      });
    }
  }
  return objects;
}

function modeOf(key: string, { metadata }: StoredObject): number {
  const mode = Number(metadata["mode"]);
  if (!Number.isInteger(mode))
    throw new Error(`${key} has no mode in its metadata: ${JSON.stringify(metadata)}`);
  return mode;
}

/** The tree that objects are: markers count where nothing else is in their folder. */
export function objectsTree(objects: ReadonlyMap<string, StoredObject>): Tree {
  const keys = [...objects.keys()];
  const lines: [string, string][] = [];
  for (const [key, object] of objects) {
    if (key === "") continue;
    if (key.endsWith("/")) {
      if (object.bytes.length > 0) throw new Error(`The folder marker ${key} has content.`);
      if (!keys.some((other) => other !== key && other.startsWith(key))) lines.push([key, "folder"]);
      continue;
    }
    const mode = modeOf(key, object);
    const isLink = (mode & S_IFMT) === S_IFLNK;
    lines.push([key, isLink ? `-> ${object.bytes.toString()}` : fileLine(mode, object.bytes)]);
  }
  return sorted(lines);
}

/** Makes local files of objects. */
export async function restore(objects: ReadonlyMap<string, StoredObject>, root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  for (const [key, object] of objects) {
    const at = path.join(root, key);
    await mkdir(key.endsWith("/") ? at : path.dirname(at), { recursive: true });
    if (key.endsWith("/") || key === "") continue;
    const mode = modeOf(key, object);
    if ((mode & S_IFMT) === S_IFLNK) {
      await symlink(object.bytes.toString(), at);
      continue;
    }
    await writeFile(at, object.bytes);
    await chmod(at, mode & 0o7777);
  }
}

/** Multipart uploads that somebody began and neither completed nor aborted. */
export async function openMultiparts(client: S3Client, bucket: string): Promise<string[]> {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  return Uploads.map(({ Key }) => Key!);
}
