/**
 * Durability: what fsync, fsync of a folder and `hawser flush PATH` wait for, and which lost conflicts they tell of.
 *
 * What goes with a file's bytes is part of it, and so is its name. Of a folder it is all below it: folders that became
 * empty get their markers, and objects that are kept for who still reads them go.
 */
import type { WriteBack } from "../writeback/write-back.ts";
import type { FolderMarkers } from "./folder-markers.ts";
import type { Inode, Inodes } from "./inodes.ts";
import type { Row } from "./inode-table.ts";
import type { OpenRemovals } from "./open-removals.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

export interface DurabilityOptions {
  parts: VolumeParts;
  inodes: Inodes;
  markers: FolderMarkers;
  removals: OpenRemovals;
  writeBack: WriteBack;
  /** What fsync waits for: the bucket, or the local disk alone. */
  fsync: "bucket" | "local";
}

export class Durability {
  readonly #options: DurabilityOptions;

  constructor(options: DurabilityOptions) {
    this.#options = options;
  }

  /** @throws the first failure that stays, or `object_changed` with what is in `recovered/` */
  async flushBelow(path: string, signal?: AbortSignal): Promise<void> {
    const { writeBack, parts } = this.#options;
    await this.#bringBelow(path, signal);
    await writeBack.tellConflicts(parts.prefix + path, "standing");
  }

  async #bringBelow(path: string, signal?: AbortSignal): Promise<void> {
    const { markers, removals, writeBack, parts } = this.#options;
    await markers.settle();
    removals.letAllGo();
    await writeBack.flush(parts.prefix + path, signal);
  }

  async fsync(inode: Inode): Promise<void> {
    const { inodes, writeBack, fsync } = this.#options;
    await inode.staged?.fsync();
    if (fsync === "local" || !inodes.isNamed(inode)) return;
    const key = inodes.key(inode);
    await writeBack.settled(key);
    await writeBack.tellConflicts(key, "exact");
  }

  async fsyncFolder(folder: Row, signal: AbortSignal): Promise<void> {
    const { inodes, writeBack, parts, fsync } = this.#options;
    if (fsync === "local" || !parts.tree.isAttached(folder)) return;
    const key = inodes.keyOf(folder);
    await this.#bringBelow(key.slice(parts.prefix.length), signal);
    await writeBack.tellConflicts(key, "once");
  }
}
