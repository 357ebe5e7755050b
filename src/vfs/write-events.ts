/**
 * What write-back tells, carried into names and inodes.
 *
 * A publication changes nothing that a program sees: the same node id, size and times, now of an object. A conflict
 * does: the name shows what somebody else has put there, from the next lookup on.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { Clock } from "../common/clock.ts";
import type { HawserError } from "../common/errors.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import type { Logger } from "../observe/logger.ts";
import type {
  LeftUnderName,
  RestoredFile,
  StagedFile,
  WriteBack,
  WriteBackEvents,
} from "../writeback/write-back.ts";
import type { Claims } from "./claims.ts";
import type { Kernel } from "./filesystem.ts";
import type { FolderMarkers } from "./folder-markers.ts";
import { Flag } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Inode, Inodes } from "./inodes.ts";
import type { Row } from "./inode-table.ts";
import type { NameLocks } from "./name-locks.ts";
import { showRestored } from "./restore.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

export interface WriteEventsOptions {
  parts: VolumeParts;
  claims: Claims;
  inodes: Inodes;
  writeBack: Pick<WriteBack, "isBusy">;
  markers: Pick<FolderMarkers, "lostName">;
  locks: NameLocks;
  clock: Clock;
  /** Told of each key that has new content in the bucket. */
  uploaded?: ((key: string) => void) | undefined;
  logger: Pick<Logger, "info" | "warn" | "error">;
}

export class WriteEvents implements WriteBackEvents {
  readonly #options: WriteEventsOptions;
  #kernel: Kernel | undefined;

  constructor(options: WriteEventsOptions) {
    this.#options = options;
  }

  attach(kernel: Kernel): void {
    this.#kernel = kernel;
  }

  published(file: StagedFile, version: ObjectVersion): void {
    this.#options.uploaded?.(version.key);
    const { inodes, claims, clock } = this.#options;
    const now = clock.monotonic();
    // Where the file has replaced an object that was removed here, nothing else says that the removal is done.
    claims.settleKey(version.key, now);
    const inode = inodes.byFile(file);
    if (!inode) return;
    // At once: what is done in this very turn must know that there is an object, and that the local file is done with.
    inodes.settle(inode, whole(version), now);
    inode.fromScratch = false;
    // Who has it open, or is changing it, goes on with the same local file.
    inodes.closed(inode);
  }

  copied(from: Pick<ObjectVersion, "key" | "etag">, version: ObjectVersion): void {
    this.#options.uploaded?.(version.key);
    const { inodes, parts, clock } = this.#options;
    const moved = inodes.movingFrom(from.key);
    if (moved) {
      inodes.setMoving(moved, false);
      if (inodes.isNamed(moved) && inodes.key(moved) === version.key) {
        inodes.settle(moved, whole(version), clock.monotonic());
      } else {
        // It has been renamed again, and the next move takes it from here.
        moved.version = version;
        if (!moved.unlinked) inodes.setMoving(moved, true);
      }
      inodes.dropIdle(moved);
      return;
    }
    const row = inodes.rowAt(version.key);
    if (row === NO_ROW || parts.tree.isFolder(row)) return;
    const inode = inodes.get(parts.tree.table.nodeId(row));
    if (inode?.version?.etag === from.etag) {
      inodes.settle(inode, whole(version), clock.monotonic());
      inodes.dropIdle(inode);
    } else if (!inode && parts.tree.table.etag(row) === from.etag) {
      const metadata = parts.metadata.get(row);
      parts.tree.rewrite(row, version);
      if (metadata) parts.metadata.set(row, { ...metadata, mtimeMs: wholeMicroseconds(version.mtimeMs) });
      inodes.settleRow(row, clock.monotonic());
    }
  }

  conflict(file: StagedFile, recoveredAs: string, left: LeftUnderName): void {
    const { inodes, logger } = this.#options;
    logger.warn(
      { key: file.key, recoveredAs },
      "What was there before stays; what was written here is among the recovered files.",
    );
    this.#settleRemoval(file.key, left);
    const inode = inodes.byFile(file);
    if (!inode) return;
    if (inodes.isNamed(inode)) {
      if (left === "object") this.#showBucket(inode);
      else if (left === "nothing") this.#leaveNothing(inode);
      else this.#showKept(inode, left);
    }
    if (inode.opens === 0) {
      inodes.detach(inode);
      inodes.closed(inode);
    }
  }

  failed(file: StagedFile, error: HawserError): void {
    this.#options.logger.error({ key: file.key, err: error }, "A file could not be uploaded");
  }

  settled(keys: readonly string[]): void {
    const { claims, clock, inodes } = this.#options;
    const now = clock.monotonic();
    for (const key of keys) {
      claims.settleKey(key, now);
      if (!key.endsWith("/")) continue;
      // A marker: the folder is there for everybody.
      const row = inodes.rowAt(key);
      if (row !== NO_ROW) inodes.settleRow(row, now);
    }
  }

  /** A removal whose place the file took: it was done by somebody else, or is being done after all. */
  #settleRemoval(key: string, left: LeftUnderName): void {
    const { claims, clock, writeBack } = this.#options;
    if (left === "object") claims.settleKey(key, clock.monotonic());
    else if (left === "nothing" && writeBack.isBusy(key)) claims.removed(key);
  }

  #leaveNothing(inode: Inode): void {
    const { inodes, parts, markers, locks, logger } = this.#options;
    const { tree } = parts;
    const folder = tree.parent(inodes.row(inode));
    const nodeId = tree.table.nodeId(folder);
    this.#unname(inode);
    const look = async (): Promise<void> => {
      const row = tree.table.rowOf(nodeId);
      if (row !== NO_ROW && tree.isAttached(row)) await markers.lostName(row);
    };
    locks.share(look).catch((error: unknown) => {
      logger.warn({ err: error, folder: nodeId }, "an empty folder has no marker yet");
    });
  }

  /** The file has no name any more: who has it open goes on with it. */
  #unname(inode: Inode): void {
    const { inodes, parts } = this.#options;
    const { tree } = parts;
    const row = inodes.row(inode);
    inode.unlinked = true;
    inodes.setMoving(inode, false);
    tree.retire(row);
    this.#forgetName(tree.parent(row), row);
  }

  /** The name is that of what was closed before: under a node id of its own, since others may have this one open. */
  #showKept(inode: Inode, kept: RestoredFile): void {
    const { inodes, parts, logger } = this.#options;
    const { tree } = parts;
    const row = inodes.row(inode);
    const folder = tree.parent(row);
    const name = tree.table.name(row);
    const type = tree.type(row);
    this.#unname(inode);
    const again = tree.create(folder, name, type);
    showRestored(again, kept, { parts, inodes }).catch((error: unknown) => {
      logger.warn({ err: error, key: kept.file.key }, "what was closed before could not be shown");
    });
  }

  #forgetName(folder: Row, row: Row): void {
    const { table } = this.#options.parts.tree;
    void this.#kernel?.invalidateEntry(table.nodeId(folder), table.nameBytes(row).slice());
  }

  /** The name is somebody else's again: the next lookup asks what is there, and finds another node id. */
  #showBucket(inode: Inode): void {
    const { inodes, parts, claims, clock } = this.#options;
    const { tree } = parts;
    const row = inodes.row(inode);
    tree.table.setFlag(row, Flag.local, false);
    claims.unsettleRow(row);
    tree.table.setFlag(row, Flag.suspect, true);
    tree.table.setEtag(row, "");
    for (let at = tree.parent(row); at !== NO_ROW; at = tree.parent(at)) {
      if (tree.isLocal(at)) claims.settleRow(at, clock.monotonic());
    }
    this.#forgetName(tree.parent(row), row);
  }
}

function whole(version: ObjectVersion): ObjectVersion {
  return { ...version, mtimeMs: wholeMicroseconds(version.mtimeMs) };
}
