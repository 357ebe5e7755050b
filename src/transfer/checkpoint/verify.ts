/**
 * Is what is in one place what is in another? File by file, by size and content: a file against what the store keeps of
 * an object (see content.ts), two files or two objects by their bytes' checksums.
 */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../common/checksum.ts";
import { HawserError } from "../../common/errors.ts";
import { sameContent } from "../content.ts";
import { BucketPlace } from "./place-bucket.ts";
import { LocalPlace } from "./place-local.ts";
import type { CheckpointPlace, PlacedFile } from "./place.ts";
import type { Step } from "./step.ts";

export interface CompareOptions {
  signal: AbortSignal;
  /** Part size of uploads, for stores that keep no checksum but an ETag of parts. */
  partBytes: number;
}

/** What differs, in words; undefined when nothing does. Files that only `there` has are no difference. */
export async function differenceOf(
  here: { place: CheckpointPlace; step: Step },
  there: { place: CheckpointPlace; files: readonly PlacedFile[]; folder: string },
  options: CompareOptions,
): Promise<string | undefined> {
  const present = new Map(there.files.map((file) => [file.key.slice(there.folder.length), file]));
  const cut = folderOf(here.step).length;
  for (const file of here.step.objects) {
    options.signal.throwIfAborted();
    const path = file.key.slice(cut);
    const other = present.get(path);
    if (!other) return `${there.place.show(there.folder + path)} is not there`;
    if (other.sizeBytes !== file.sizeBytes)
      return `${there.place.show(other.key)} has ${other.sizeBytes} bytes, and ${here.place.show(file.key)} ${file.sizeBytes}`;
    if (!(await sameFile({ place: here.place, file }, { place: there.place, file: other }, options)))
      return `${there.place.show(other.key)} has another content than ${here.place.show(file.key)}`;
  }
  return undefined;
}

/** The folder that a step's own name stands in, with its slash. */
export function folderOf({ name }: Pick<Step, "name">): string {
  return name.slice(0, name.lastIndexOf("/") + 1);
}

interface At {
  place: CheckpointPlace;
  file: PlacedFile;
}

async function sameFile(a: At, b: At, options: CompareOptions): Promise<boolean> {
  if (a.place instanceof LocalPlace && b.place instanceof BucketPlace) {
    const object = { ...b.file, key: b.place.prefix + b.file.key };
    return await sameContent(join(a.place.folder, a.file.key), object, b.place.store, options);
  }
  if (a.place instanceof BucketPlace && b.place instanceof LocalPlace) return await sameFile(b, a, options);
  if (a.place instanceof BucketPlace && a.file.etag !== "" && a.file.etag === b.file.etag) return true;
  return (await checksumOf(a, options.signal)) === (await checksumOf(b, options.signal));
}

async function checksumOf({ place, file }: At, signal: AbortSignal): Promise<number> {
  let crc = 0;
  for await (const bytes of await contentOf({ place, file }, signal)) crc = crc32c(bytes, crc);
  return crc;
}

async function contentOf({ place, file }: At, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  if (place instanceof LocalPlace)
    return createReadStream(join(place.folder, file.key), { signal }) as AsyncIterable<Uint8Array>;
  if (place instanceof BucketPlace) {
    const { body } = await place.store.getStream(
      { key: place.prefix + file.key },
      { reason: "bulk", signal },
    );
    return body;
  }
  throw new HawserError("internal", `${place.label} cannot be read as a stream.`);
}
