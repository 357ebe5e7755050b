/**
 * Where checkpoints are: a local folder, a folder on a mounted volume, or a prefix of a bucket, as one kind of thing.
 *
 * Paths are relative to the place, with `/` between their names. A place is not held open: it only knows how to look.
 */
import { readdir } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { Bytes } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";
import { parseAddress } from "../address.ts";
import type { Connection } from "../connection.ts";
import { isWeights, stepOf } from "../cleanup/checkpoint-name.ts";
import { BucketPlace } from "./place-bucket.ts";
import { LocalPlace } from "./place-local.ts";

/** A file of a place: `key` is its path there. */
export type PlacedFile = ListedObject;

export interface CheckpointPlace {
  readonly kind: "local" | "s3";
  /** The place as people write it. */
  readonly label: string;
  /** Files appear whole or not at all, as objects do. */
  readonly isAtomic: boolean;
  /** Every file whose path begins with `start`. @throws when any part cannot be looked at */
  list(start?: string, signal?: AbortSignal): AsyncIterable<PlacedFile[]>;
  /** Up to `length` bytes, or undefined when there is no such file. */
  read(path: string, offset: Bytes, length: Bytes, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Files that a process of this machine has open for writing. */
  beingWritten(): Promise<ReadonlySet<string>>;
  /** Removes single files; one that is gone already is no failure. Rejects when one cannot be removed. */
  removeFiles(files: readonly PlacedFile[], signal?: AbortSignal): Promise<void>;
  /**
   * Removes a folder. Until the last moment it has a file `TOMBSTONE`, by which anybody sees that it is being removed.
   *
   * @param files those of the folder, as they were listed
   */
  removeFolder(path: string, files: readonly PlacedFile[], signal?: AbortSignal): Promise<void>;
  /** A path of it as people write it. */
  show(path: string): string;
}

/** A place, and what of it was named. */
export interface NamedPlace {
  place: CheckpointPlace;
  /** One checkpoint of the place, or a folder with a number that holds some. */
  only?: string | undefined;
}

/**
 * The place that a text names. A last name with the number of a step is that checkpoint, in the folder above, unless
 * there are numbered ones in it (`./ckpt3/step_100.pt`).
 *
 * @throws HawserError `invalid_argument`
 */
export async function openPlace(text: string, connection: Connection): Promise<NamedPlace> {
  const address = parseAddress(text);
  if (address.kind === "stream")
    throw new HawserError("invalid_argument", "A checkpoint is a file or folder, not a stream.");
  if (address.kind === "local") {
    const path = resolve(address.path);
    const isStep = stepOf(basename(path)) !== undefined && !(await namesIn(path)).some(isNumbered);
    return isStep
      ? { place: new LocalPlace(dirname(path)), only: basename(path) }
      : { place: new LocalPlace(path) };
  }
  const key = address.key.replace(/\/+$/, "");
  const store = await connection.store(address.bucket);
  const only = key.slice(key.lastIndexOf("/") + 1);
  if (stepOf(only) === undefined) return { place: new BucketPlace(store, key === "" ? "" : `${key}/`) };
  const { objects, prefixes } = await store.list({ prefix: `${key}/`, delimiter: "/" }, { reason: "bulk" });
  const names = [...objects.map((object) => object.key), ...prefixes].map((name) => basename(name));
  if (names.some(isNumbered)) return { place: new BucketPlace(store, `${key}/`) };
  return { place: new BucketPlace(store, key.slice(0, key.length - only.length)), only };
}

/** A checkpoint of its own, and not DeepSpeed's part of another one. */
function isNumbered(name: string): boolean {
  if (/^global_?step/i.test(name) || stepOf(name) === undefined) return false;
  return isWeights(name) || !/\.[a-z]\w*$/i.test(name);
}

async function namesIn(path: string): Promise<string[]> {
  return await readdir(path).catch(() => []);
}
