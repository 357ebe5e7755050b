/**
 * Folder markers: objects that make a folder exist where nothing is in it.
 *
 * In S3 a folder is there while something is below it. So a folder that was made, or became empty, gets a marker (an
 * empty object whose key ends in a slash), but only when it is still empty a second later: trees are unpacked and
 * removed without one marker. Attributes that differ from what the volume gives to folders need a marker at once, which
 * carries them. A marker stays when the folder gets content.
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

export class FolderMarkers {
  readonly #options: FolderMarkersOptions;
  /** Folders to be looked at again, and how to call that off. */
  readonly #waiting = new Map<NodeId, () => void>();
  readonly #abort = new AbortController();

  constructor(options: FolderMarkersOptions) {
    this.#options = options;
  }

  /** The folder is empty: it gets a marker if it stays so. */
  becameEmpty(folder: Row): void {
    if (folder === ROOT_ROW) return;
    const { tree } = this.#options.parts;
    tree.claim(folder);
    const nodeId = tree.table.nodeId(folder);
    if (this.#waiting.has(nodeId)) return;
    const look = (): void => {
      void this.#options.locks.share(() => this.#look(nodeId));
    };
    this.#waiting.set(nodeId, this.#options.clock.after(MARKER_AFTER_MS, look));
  }

  /** The folder went. */
  gone(nodeId: NodeId): void {
    this.#waiting.get(nodeId)?.();
    this.#waiting.delete(nodeId);
  }

  /** Writes the marker with the folder's attributes as they are. Within a lock. */
  async put(folder: Row): Promise<void> {
    if (folder === ROOT_ROW && this.#options.parts.prefix === "") return;
    const { tree, metadata } = this.#options.parts;
    this.gone(tree.table.nodeId(folder));
    tree.setMarker(folder, true);
    const name = tree.table.name(folder);
    await this.#options.writeBack.mark(
      this.#options.inodes.keyOf(folder),
      formatFileMetadata(name, "directory", metadata.get(folder) ?? {}, { withMtime: true }),
    );
  }

  /** Writes now what would be written in a moment, for a barrier. Outside of all locks. */
  async settle(): Promise<void> {
    for (const nodeId of this.#waiting.keys()) await this.#options.locks.share(() => this.#look(nodeId));
  }

  close(): void {
    this.#abort.abort();
    for (const cancel of this.#waiting.values()) cancel();
    this.#waiting.clear();
  }

  async #look(nodeId: NodeId): Promise<void> {
    this.gone(nodeId);
    const { tree, lister } = this.#options.parts;
    const folder = tree.table.rowOf(nodeId);
    if (folder === NO_ROW || !tree.isAttached(folder) || !tree.isFolder(folder)) return;
    if (!tree.isEmpty(folder)) return;
    tree.pin(folder);
    try {
      await lister.whole(folder, this.#abort.signal);
      if (tree.isAttached(folder) && tree.isEmpty(folder)) await this.put(folder);
    } catch (error) {
      if (!this.#abort.signal.aborted)
        this.#options.logger.warn({ error, path: tree.path(folder) }, "an empty folder has no marker yet");
    } finally {
      tree.unpin(folder);
    }
  }
}
