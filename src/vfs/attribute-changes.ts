/**
 * Changes of attributes: permissions, owners, times and extended attributes.
 *
 * What is pending takes them along; an object that is in the bucket already gets them by a copy onto itself on the
 * server, without its bytes; a folder by its marker. What changes nothing that is stored sends nothing.
 */
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import type { EpochMs } from "../common/units.ts";
import type { WriteBack } from "../writeback/write-back.ts";
import type { NodeId, SetAttributes } from "./filesystem.ts";
import type { FolderMarkers } from "./folder-markers.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inode, Inodes } from "./inodes.ts";
import type { NameLocks } from "./name-locks.ts";
import { formatFileMetadata } from "./object-metadata.ts";
import type { FileMetadata } from "./object-metadata.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

export interface AttributeChangesOptions {
  parts: VolumeParts;
  inodes: Inodes;
  markers: FolderMarkers;
  writeBack: WriteBack;
  locks: NameLocks;
  clock: Clock;
}

type Patch = { -readonly [K in keyof FileMetadata]?: FileMetadata[K] };

const SETUID = 0o4000;
const SETGID = 0o2000;
const GROUP_EXECUTE = 0o0010;

/** The mode after somebody who may not keep them has written: the set-id bits that mean something are gone. */
export function withoutSetId(mode: number): number {
  return mode & ~SETUID & (mode & GROUP_EXECUTE ? ~SETGID : ~0);
}

export class AttributeChanges {
  readonly #options: AttributeChangesOptions;

  constructor(options: AttributeChangesOptions) {
    this.#options = options;
  }

  /** All but the size. */
  async set(nodeId: NodeId, changes: SetAttributes): Promise<void> {
    const patch = this.#patch(nodeId, changes);
    if (Object.keys(patch).length > 0) await this.change(nodeId, () => patch);
  }

  /** Clears suid and sgid where they are set: a file was written by somebody else. */
  async killSetId(nodeId: NodeId): Promise<void> {
    const mode = this.#mode(nodeId);
    if (withoutSetId(mode) !== mode) await this.change(nodeId, () => ({ mode: withoutSetId(mode) }));
  }

  /** @throws `no_space` when it is more than the object's metadata holds */
  async change(nodeId: NodeId, patchOf: (metadata: FileMetadata) => Patch): Promise<void> {
    const { tree } = this.#options.parts;
    const row = tree.table.rowOf(nodeId);
    if (row === NO_ROW) throw new HawserError("stale", `Node ${nodeId} is not known any more.`);
    if (tree.isFolder(row)) await this.#changeFolder(nodeId, patchOf);
    else await this.#changeFile(this.#options.inodes.of(row), patchOf);
  }

  async #changeFile(inode: Inode, patchOf: (metadata: FileMetadata) => Patch): Promise<void> {
    const { inodes, writeBack, locks } = this.#options;
    inodes.beginChange(inode);
    try {
      const before = await inodes.learn(inode);
      await inode.staging?.catch(() => undefined);
      const { mtimeMs, ...patch } = patchOf(before);
      const now = this.#now();
      const after = { ...before, ...patch, ctimeMs: now };
      const { staged } = inode;
      if (staged) {
        this.#format(inode, after);
        inodes.setMetadata(inode, after);
        if (isStoredChange(before, patch)) await staged.setMeta(inodes.stored(inode));
        if (mtimeMs !== undefined) await this.#setStagedTime(inode, mtimeMs);
        return;
      }
      const times = { mtimeMs: mtimeMs ?? inodes.mtimeMs(inode) };
      const stored = this.#format(inode, { ...after, ...times }, true);
      const sends = isStoredChange(before, patch) || (mtimeMs !== undefined && mtimeMs !== before.mtimeMs);
      if (sends && inode.version && inodes.isNamed(inode)) {
        await locks.share(async () =>
          writeBack.replaceMeta({ ...inode.version!, key: inodes.key(inode) }, stored),
        );
        this.#options.parts.tree.claim(inodes.row(inode));
      }
      inodes.setMetadata(inode, { ...after, ...times });
    } finally {
      inodes.endChange(inode);
    }
  }

  async #setStagedTime(inode: Inode, mtimeMs: EpochMs): Promise<void> {
    await inode.staged?.setTimes(mtimeMs);
    this.#options.parts.tree.setMtime(this.#options.inodes.row(inode), mtimeMs);
    inode.touched = inode.serving === "passthrough" && inode.writers > 0;
  }

  #format(inode: Inode, metadata: FileMetadata, withMtime = false): ReturnType<typeof formatFileMetadata> {
    const { tree } = this.#options.parts;
    const row = this.#options.inodes.row(inode);
    return formatFileMetadata(tree.table.name(row), tree.type(row), metadata, { withMtime });
  }

  async #changeFolder(nodeId: NodeId, patchOf: (metadata: FileMetadata) => Patch): Promise<void> {
    const { parts, markers, locks } = this.#options;
    const { tree, metadata } = parts;
    await locks.share(async () => {
      let row = tree.table.rowOf(nodeId);
      if (row !== NO_ROW && tree.isAttached(row) && !metadata.has(row)) await metadata.fetch(row);
      row = tree.table.rowOf(nodeId);
      if (row === NO_ROW || !tree.isAttached(row)) return;
      const before = metadata.get(row) ?? {};
      const patch = patchOf(before);
      const after: FileMetadata = { ...before, ...patch, ctimeMs: this.#now() };
      formatFileMetadata(tree.table.name(row), "directory", after, { withMtime: true });
      metadata.set(row, after);
      if (patch.mtimeMs !== undefined) tree.setMtime(row, patch.mtimeMs);
      const { mtimeMs, ...rest } = patch;
      if (isStoredChange(before, rest) || (mtimeMs !== undefined && mtimeMs !== before.mtimeMs))
        await this.#putMarker(row, markers);
    });
  }

  async #putMarker(row: Row, markers: FolderMarkers): Promise<void> {
    this.#options.parts.tree.claim(row);
    await markers.put(row);
  }

  #patch(nodeId: NodeId, changes: SetAttributes): Patch {
    const patch: Patch = {};
    if (changes.uid !== undefined) patch.uid = changes.uid;
    if (changes.gid !== undefined) patch.gid = changes.gid;
    if (changes.mode !== undefined) patch.mode = changes.mode;
    else if (changes.killSuidGid) {
      const mode = this.#mode(nodeId);
      if (withoutSetId(mode) !== mode) patch.mode = withoutSetId(mode);
    }
    if (changes.atimeMs !== undefined) patch.atimeMs = this.#time(changes.atimeMs);
    if (changes.mtimeMs !== undefined) patch.mtimeMs = this.#time(changes.mtimeMs);
    return patch;
  }

  #mode(nodeId: NodeId): number {
    const { parts, inodes } = this.#options;
    const { tree, metadata, options } = parts;
    const row = tree.table.rowOf(nodeId);
    const known = inodes.get(nodeId)?.metadata.mode ?? (row === NO_ROW ? undefined : metadata.get(row)?.mode);
    return known ?? (row !== NO_ROW && tree.isFolder(row) ? options.dirMode : options.fileMode);
  }

  #time(time: EpochMs | "now"): EpochMs {
    return wholeMicroseconds(time === "now" ? this.#options.clock.now() : time);
  }

  #now(): EpochMs {
    return this.#time("now");
  }
}

/** True when the patch changes something that the object tells; its mtime aside. */
function isStoredChange(before: FileMetadata, patch: Patch): boolean {
  return (Object.keys(patch) as (keyof FileMetadata)[]).some((field) => patch[field] !== before[field]);
}
