/**
 * What an earlier mount left undone, shown as names: pending files, moves, deletions and folders.
 */
import type { Clock } from "../common/clock.ts";
import type { ObjectMeta, RestoredFile, WriteBack } from "../writeback/write-back.ts";
import type { Claims } from "./claims.ts";
import type { FileType } from "./filesystem.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inodes } from "./inodes.ts";
import { keyToPath } from "./key-path.ts";
import type { FileMetadata } from "./object-metadata.ts";
import { readObjectMetadata } from "./object-metadata.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

/** To be called once, before the first request. */
export async function restoreNames(
  writeBack: WriteBack,
  { parts, claims, inodes, clock }: { parts: VolumeParts; claims: Claims; inodes: Inodes; clock: Clock },
): Promise<void> {
  const { tree, metadata } = parts;

  const place = (key: string, type: FileType): Row => {
    const path = keyToPath(parts.prefix, key);
    if (!path?.reachable || path.names.length === 0) return NO_ROW;
    const names = [...path.names];
    const last = names.pop()!;
    let folder: Row = ROOT_ROW;
    for (const name of names) {
      const row = tree.find(folder, name);
      const known = row !== NO_ROW && !tree.isDead(row) && tree.isFolder(row);
      folder = known ? row : tree.create(folder, name, "directory");
    }
    const present = tree.find(folder, last);
    if (present !== NO_ROW && !tree.isDead(present) && tree.type(present) === type) return present;
    return tree.create(folder, last, type);
  };

  for (const item of writeBack.restoredItems()) {
    if (item.kind === "remove") {
      claims.removed(item.key);
      const row = inodes.rowAt(item.key);
      if (row !== NO_ROW && row !== ROOT_ROW && !tree.isFolder(row)) tree.retire(row);
    } else if (item.kind === "gone") {
      claims.removedFolder(item.key);
    } else if (item.kind === "mark") {
      const row = place(item.key, "directory");
      if (row === NO_ROW) continue;
      metadata.set(row, { ...told(tree.table.name(row), item.meta), type: undefined });
      tree.setMarker(row, true);
    } else {
      claims.removed(item.version.key);
      const row = place(item.toKey, "file");
      if (row === NO_ROW) continue;
      tree.rewrite(row, item.version);
      tree.claim(row);
      const inode = inodes.of(row);
      const { copied } = item;
      inode.version = copied ? { ...item.version, key: item.toKey, etag: copied.etag } : item.version;
      if (copied) {
        tree.rewrite(row, inode.version);
        // It is there for everybody, whatever becomes of the old name.
        inodes.settleRow(row, clock.monotonic());
        inodes.dropIdle(inode);
      } else inodes.setMoving(inode, true);
    }
  }

  for (const restored of writeBack.restored()) {
    const { file, meta } = restored;
    const { type = "file" } = told("", meta);
    const row = place(file.key, type === "directory" ? "file" : type);
    if (row !== NO_ROW) await showRestored(row, restored, { parts, inodes });
  }
}

/** Shows a staged file that nobody here has asked for under a name that has just been made. */
export async function showRestored(
  row: Row,
  { file, meta, base }: RestoredFile,
  { parts, inodes }: { parts: VolumeParts; inodes: Inodes },
): Promise<void> {
  const { tree } = parts;
  const inode = inodes.of(row);
  const metadata = told(tree.table.name(row), meta);
  inodes.setMetadata(inode, { ...metadata, type: undefined, mtimeMs: undefined });
  if (base.kind === "version")
    inode.version = { key: file.key, etag: base.etag, sizeBytes: 0, mtimeMs: inodes.mtimeMs(inode) };
  inodes.attach(inode, file, { fromScratch: false });
  const { size, mtime } = file.stamp();
  tree.setSize(row, size);
  tree.setMtime(row, mtime);
}

function told(name: string, { metadata = {}, contentType, headers }: ObjectMeta): FileMetadata {
  return readObjectMetadata(name, { metadata, contentType, headers });
}
