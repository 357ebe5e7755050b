/** The two sides of a sync as sorted streams: a local folder, and what lies below a prefix. */
import { HawserError } from "../common/errors.ts";
import type { ListedObject } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { Filter } from "./filter.ts";
import type { Job } from "./job.ts";
import { listObjects } from "./listing.ts";
import { localStat, walkFiles } from "./local-files.ts";
import type { LocalFile } from "./local-files.ts";

/** An object with its path below the prefix. */
export type RemoteFile = ListedObject & { path: string };

/** A local folder. One that does not exist is empty, unless it is the source. */
export interface LocalSide {
  kind: "local";
  folder: string;
}

export interface RemoteSide {
  kind: "s3";
  store: S3Store;
  /** Empty, or ending in a slash. */
  prefix: string;
}

/** What could not be looked at: as long as there is any, nothing may be deleted for being missing. */
export interface Blind {
  count: number;
}

export async function* localFiles(
  { folder }: LocalSide,
  job: Job,
  filter: Filter,
  { mayBeMissing, blind }: { mayBeMissing: boolean; blind: Blind },
): AsyncGenerator<LocalFile[]> {
  if (mayBeMissing && !(await exists(folder))) return;
  const item = (path: string) => ({ action: "upload", source: `${folder}/${path}`, bytes: 0 }) as const;
  const batches = walkFiles(folder, {
    signal: job.signal,
    onError: (path, error) => {
      blind.count++;
      job.fail(item(path), error);
    },
    onSpecial: (path) => {
      if (filter(path)) job.skip(item(path), "special");
    },
  });
  for await (const batch of batches) yield batch.filter(({ path }) => filter(path));
}

async function exists(folder: string): Promise<boolean> {
  try {
    await localStat(folder);
    return true;
  } catch (error) {
    if (HawserError.is(error, "not_found")) return false;
    throw error;
  }
}

/** Markers of folders are left out: folders are made as they are needed. */
export async function* remoteFiles(
  { store, prefix }: RemoteSide,
  job: Job,
  filter: Filter,
): AsyncGenerator<RemoteFile[]> {
  for await (const page of listObjects(store, prefix, { signal: job.signal })) {
    const files: RemoteFile[] = [];
    for (const object of page) {
      const path = object.key.slice(prefix.length);
      if (path === "" || path.endsWith("/") || !filter(path)) continue;
      files.push({ ...object, path });
    }
    if (files.length > 0) yield files;
  }
}

/** A file of a side, as a person writes it. */
export function addressIn(side: LocalSide | RemoteSide, path: string): string {
  return side.kind === "local" ? `${side.folder}/${path}` : formatS3(side.store.bucket, side.prefix + path);
}
