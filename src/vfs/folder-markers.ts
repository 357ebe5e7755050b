/**
 * Folder markers: objects that make a folder exist where nothing is in it.
 *
 * In S3 a folder is there while something is below it. So a folder that was made, or became empty, gets a marker (an
 * empty object whose key ends in a slash), but only when it is still empty a second later: trees are unpacked and
 * removed without one marker. Attributes that differ from what the volume gives to folders need a marker at once, which
 * carries them. A marker stays when the folder gets content. Until then the journal knows that one is owed: what a program
 * has made is there after a crash.
 */
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { WriteBack } from "../writeback/write-back.ts";
import type { NodeId } from "./filesystem.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inodes } from "./inodes.ts";
import type { NameLocks } from "./name-locks.ts";
import { formatFileMetadata } from "./object-metadata.ts";
import type { StoredMetadata } from "./object-metadata.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

/** How long a folder may be empty before it gets a marker. */
export const MARKER_AFTER_MS: Milliseconds = 1000;

export interface FolderMarkersOptions {
  parts: VolumeParts;
  inodes: Inodes;
  writeBack: WriteBack;
  locks: NameLocks;
  clock: Clock;
  logger: Pick<Logger, "warn">;
}

/** A folder to be looked at again. */
interface Waiting {
  /** Calls it off. */
  cancel: () => void;
  /** Nothing is owed any more. */
  withdraw: () => void;
}

export class FolderMarkers {
  readonly #options: FolderMarkersOptions;
  readonly #waiting = new Map<NodeId, Waiting>();
  readonly #abort = new AbortController();

  constructor(options: FolderMarkersOptions) {
    this.#options = options;
  }

  /** The folder is empty: it gets a marker if it stays so. Resolves when that is journaled. Within a lock. */
  async becameEmpty(folder: Row): Promise<void> {
    if (folder === ROOT_ROW) return;
    const { tree } = this.#options.parts;
    tree.claim(folder);
    const nodeId = tree.table.nodeId(folder);
    if (this.#waiting.has(nodeId)) return;
    const look = (): void => {
      void this.#options.locks.share(() => this.#look(nodeId));
    };
    const cancel = this.#options.clock.after(MARKER_AFTER_MS, look);
    this.#waiting.set(nodeId, { cancel, withdraw: () => undefined });
    await this.moved(folder, this.#options.inodes.keyOf(folder));
  }

  /** A name in the folder went: if it was the last one known, the folder keeps its place. Within a lock. */
  async lostName(folder: Row): Promise<void> {
    const { tree } = this.#options.parts;
    if (folder !== ROOT_ROW && tree.isEmpty(folder) && !tree.hasMarker(folder))
      await this.becameEmpty(folder);
  }

  /** What is owed of a folder is owed under this key. */
  async moved(folder: Row, key: string): Promise<void> {
    const { parts, writeBack } = this.#options;
    const nodeId = parts.tree.table.nodeId(folder);
    const waiting = this.#waiting.get(nodeId);
    if (!waiting) return;
    const owed = writeBack.owe(key, this.#stored(folder));
    waiting.withdraw();
    const withdraw = await owed;
    if (this.#waiting.get(nodeId) === waiting) waiting.withdraw = withdraw;
    else withdraw();
  }

  /** The folder went. */
  gone(nodeId: NodeId): void {
    const waiting = this.#waiting.get(nodeId);
    this.#waiting.delete(nodeId);
    waiting?.cancel();
    waiting?.withdraw();
  }

  /** Writes the marker with the folder's attributes as they are. Within a lock. */
  async put(folder: Row): Promise<void> {
    if (folder === ROOT_ROW && this.#options.parts.prefix === "") return;
    const { tree } = this.#options.parts;
    this.gone(tree.table.nodeId(folder));
    tree.setMarker(folder, true);
    await this.#options.writeBack.mark(this.#options.inodes.keyOf(folder), this.#stored(folder));
  }

  #stored(folder: Row): StoredMetadata {
    const { tree, metadata } = this.#options.parts;
    const known = metadata.get(folder) ?? {};
    return formatFileMetadata(tree.table.name(folder), "directory", known, { withMtime: true });
  }

  /** Writes now what would be written in a moment, for a barrier. Outside of all locks. */
  async settle(): Promise<void> {
    for (const nodeId of this.#waiting.keys()) await this.#options.locks.share(() => this.#look(nodeId));
  }

  close(): void {
    this.#abort.abort();
    for (const { cancel } of this.#waiting.values()) cancel();
    this.#waiting.clear();
  }

  async #look(nodeId: NodeId): Promise<void> {
    this.#waiting.get(nodeId)?.cancel();
    const { tree, lister } = this.#options.parts;
    const folder = tree.table.rowOf(nodeId);
    const isFolder = folder !== NO_ROW && tree.isAttached(folder) && tree.isFolder(folder);
    if (!isFolder || !tree.isEmpty(folder)) return this.gone(nodeId);
    tree.pin(folder);
    try {
      await lister.whole(folder, this.#abort.signal);
      if (tree.isAttached(folder) && tree.isEmpty(folder)) await this.put(folder);
      else this.gone(nodeId);
    } catch (error) {
      // It is owed still, to whoever comes next.
      this.#waiting.delete(nodeId);
      if (!this.#abort.signal.aborted)
        this.#options.logger.warn({ error, path: tree.path(folder) }, "an empty folder has no marker yet");
    } finally {
      tree.unpin(folder);
    }
  }
}
