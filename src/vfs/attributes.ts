/**
 * Attributes of a row, written into an object that the caller keeps.
 *
 * Replies reuse one object each: a walk asks for hundreds of thousands a second, and a channel encodes an answer before
 * it asks for the next.
 */
import type { Attributes, Entry } from "./filesystem.ts";
import { Double, Flag, Word } from "./inode-segment.ts";
import type { Row } from "./inode-table.ts";
import type { FileMetadata } from "./object-metadata.ts";
import type { ResolvedVolumeOptions } from "./options.ts";
import type { Tree } from "./tree.ts";

/** What a folder's size shows: one block, as on local file systems. */
const FOLDER_BYTES = 4096;

export function newAttributes(): Attributes {
  return {
    ino: 0,
    type: "file",
    sizeBytes: 0,
    mode: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    atimeMs: 0,
    mtimeMs: 0,
    ctimeMs: 0,
    blocks: 0,
    rdev: undefined,
  };
}

export function newEntry(): Entry {
  return { nodeId: 0, attributes: newAttributes(), entryTtlMs: 0, attributeTtlMs: 0 };
}

/** Fills `into` for a row; `metadata` is what its object says of itself, where that is known. */
export function fillAttributes(
  into: Attributes,
  tree: Tree,
  row: Row,
  options: ResolvedVolumeOptions,
  metadata: FileMetadata | undefined,
): void {
  const table = tree.table;
  const bits = table.get(row, Word.bits) >>> 8;
  const folder = (bits & Flag.directory) !== 0;
  const mtimeMs = metadata?.mtimeMs ?? table.getDouble(row, Double.mtimeMs);
  into.ino = table.getDouble(row, Double.ino);
  into.type = tree.type(row);
  into.sizeBytes = folder ? FOLDER_BYTES : table.getDouble(row, Double.size);
  into.mode =
    into.type === "symlink" ? 0o777 : (metadata?.mode ?? (folder ? options.dirMode : options.fileMode));
  // One link also for folders: more would claim to know how many folders are inside, and find(1) would believe it.
  into.nlink = 1;
  into.uid = metadata?.uid ?? options.uid;
  into.gid = metadata?.gid ?? options.gid;
  into.atimeMs = metadata?.atimeMs ?? mtimeMs;
  into.mtimeMs = mtimeMs;
  // Stored only where attributes changed after the content; the content's own changes count too.
  into.ctimeMs = Math.max(metadata?.ctimeMs ?? mtimeMs, mtimeMs);
  into.blocks = Math.ceil(into.sizeBytes / 512);
  into.rdev = metadata?.rdev;
}
