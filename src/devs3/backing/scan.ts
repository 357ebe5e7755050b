/** Finds the plain files below a bucket's folder. Symbolic links are not followed: they could lead out of it. */
import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

import { NULL_VERSION } from "../state/bucket.ts";
import type { ObjectVersion } from "../state/model.ts";
import { FileContent } from "./file-content.ts";
import { pathComponents } from "./paths.ts";

export interface FoundFile {
  key: string;
  path: string;
  stat: BigIntStats;
}

export async function* scan(folder: string, keyPrefix = ""): AsyncGenerator<FoundFile> {
  const names = await readdir(folder, { withFileTypes: true });
  for (const entry of names) {
    const key = keyPrefix + entry.name;
    if (!pathComponents(key)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* scan(path, `${key}/`);
    else if (entry.isFile()) {
      const stat = await lstat(path, { bigint: true });
      yield { key, path, stat };
    }
  }
}

/**
 * The object that a file is, which nobody uploaded. Its ETag is made of what the file system says, in the form of a
 * multipart one: an MD5 would take reading every file at the start.
 */
export function adoptedVersion({ key, path, stat }: FoundFile): ObjectVersion {
  const identity = `${key}\0${stat.size}\0${stat.mtimeNs}`;
  return {
    key,
    versionId: NULL_VERSION,
    isDeleteMarker: false,
    mtimeMs: Number(stat.mtimeMs),
    sizeBytes: Number(stat.size),
    etag: `${createHash("md5").update(identity).digest("hex")}-1`,
    content: new FileContent(path, Number(stat.size), stat.mtimeNs, undefined),
    headers: { "content-type": "binary/octet-stream" },
    metadata: {},
    tags: {},
    storageClass: "STANDARD",
    sse: { "x-amz-server-side-encryption": "AES256" },
  };
}
