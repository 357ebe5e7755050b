/**
 * Inodes: what a writable volume knows of files beyond their rows.
 *
 * A file gets one while it is open, while something of it is on its way to the bucket, or while the object is being
 * moved there. It says where the bytes are: in a staged file, or in the bucket as `version`, whose key is not the
 * path's as long as a move is under way. An inode is known by its node id, which it keeps whatever its name and version
 * become, and outlives its name while handles are open.
 *
 * Size and mtime are kept in the file's row. Where somebody may have changed them behind us (`touched`), the staged
 * file is asked before they are shown.
 */
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError } from "../common/errors.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import type { StagedFile } from "../writeback/write-back.ts";
import type { Claims } from "./claims.ts";
import type { NodeId } from "./filesystem.ts";
import { Double, Flag } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { FileMetadata } from "./object-metadata.ts";
import { formatFileMetadata } from "./object-metadata.ts";
import type { StoredMetadata } from "./object-metadata.ts";
import { folderKeyOf, objectVersion } from "./object-version.ts";
import type { VolumeParts } from "./volume-filesystem.ts";
import type { ServingState } from "./writable-open-policy.ts";

/** Times that an object may become another one while it is asked. */
const LEARN_TRIES = 10;

export interface Inode {
  readonly nodeId: NodeId;
  metadata: FileMetadata;
  /** What the bucket has, or will have once a move is done; undefined when there is nothing of it there. */
  version: ObjectVersion | undefined;
  /** A move of the object is under way. */
  moving: boolean;
  /** The key that it takes the object from. */
  movedFrom: string | undefined;
  staged: StagedFile | undefined;
  /** A staged file is being made. */
  staging: Promise<StagedFile> | undefined;
  /** The staged file began empty, in place of a version. */
  fromScratch: boolean;
  /** It has no name any more, or that name is another file's. */
  unlinked: boolean;
  /** Handles, and opens under way. */
  opens: number;
  /** Changes of attributes, or of its place, under way. */
  changes: number;
  /** Handles through which bytes may be changed. */
  writers: number;
  /** The end of a handle under way. */
  releasing: Promise<void> | undefined;
  /** The staged file that is held for the handles, and for changes under way. */
  held: StagedFile | undefined;
  serving: ServingState;
  /** Handles that count in `serving`. */
  served: number;
  backingId: number | undefined;
  touched: boolean;
}

export class Inodes {
  readonly #parts: VolumeParts;
  readonly #claims: Claims;
  readonly #inodes = new Map<NodeId, Inode>();
  readonly #byFile = new Map<number, Inode>();
  /** By the key that the object is still under. */
  readonly #moving = new Map<string, Inode>();

  constructor(parts: VolumeParts, claims: Claims) {
    this.#parts = parts;
    this.#claims = claims;
    const inodeOf = (row: Row): Inode | undefined => this.#inodes.get(parts.tree.table.nodeId(row));
    parts.metadata.hooks = {
      keyOf(row) {
        const inode = inodeOf(row);
        return inode?.moving ? inode.version?.key : undefined;
      },
      learned(row, metadata) {
        const inode = inodeOf(row);
        if (inode) inode.metadata = metadata;
      },
    };
  }

  get(nodeId: NodeId): Inode | undefined {
    return this.#inodes.get(nodeId);
  }

  all(): IterableIterator<Inode> {
    return this.#inodes.values();
  }

  byFile(file: StagedFile): Inode | undefined {
    return this.#byFile.get(file.id);
  }

  /** The inode whose object is being moved away from a key. */
  movingFrom(key: string): Inode | undefined {
    return this.#moving.get(key);
  }

  /** The inode of a file's row. */
  of(row: Row): Inode {
    const { tree, prefix, metadata } = this.#parts;
    const nodeId = tree.table.nodeId(row);
    const known = this.#inodes.get(nodeId);
    if (known) return known;
    const version = objectVersion(tree, folderKeyOf(tree, prefix, tree.parent(row)), row);
    const inode: Inode = {
      nodeId,
      metadata: metadata.get(row) ?? {},
      version: version.etag === "" ? undefined : version,
      moving: false,
      movedFrom: undefined,
      staged: undefined,
      staging: undefined,
      fromScratch: false,
      unlinked: false,
      opens: 0,
      changes: 0,
      writers: 0,
      releasing: undefined,
      held: undefined,
      serving: "closed",
      served: 0,
      backingId: undefined,
      touched: false,
    };
    this.#inodes.set(nodeId, inode);
    return inode;
  }

  /** Lets an inode go when nothing needs it. */
  dropIdle(inode: Inode): void {
    if (isInUse(inode) || inode.staged || inode.staging || inode.moving) return;
    if (this.#inodes.get(inode.nodeId) === inode) this.#inodes.delete(inode.nodeId);
  }

  // ---- rows and keys ----

  /** The row of an inode, its name's or a leftover's; none when the kernel has forgotten it. */
  row(inode: Inode): Row {
    return this.#parts.tree.table.rowOf(inode.nodeId);
  }

  /** True while the inode's row is in the tree under the inode's node id. */
  isNamed(inode: Inode): boolean {
    if (inode.unlinked) return false;
    const row = this.row(inode);
    return row !== NO_ROW && this.#parts.tree.isAttached(row);
  }

  /** The key that goes with the path. @throws HawserError `stale` when there is no path */
  key(inode: Inode): string {
    const row = this.row(inode);
    if (row === NO_ROW || !this.#parts.tree.isAttached(row))
      throw new HawserError("stale", "The file was replaced or removed.");
    return this.keyOf(row);
  }

  /** The key of a row in the tree; a folder's ends in a slash. */
  keyOf(row: Row): string {
    const { tree, prefix } = this.#parts;
    if (tree.isFolder(row)) return folderKeyOf(tree, prefix, row);
    return folderKeyOf(tree, prefix, tree.parent(row)) + tree.table.name(row);
  }

  /** The row at a key, dead ones excluded; of a folder where the key ends in a slash. */
  rowAt(key: string): Row {
    const { tree, prefix } = this.#parts;
    if (!key.startsWith(prefix)) return NO_ROW;
    const folder = key.endsWith("/");
    const names = key.slice(prefix.length, folder ? -1 : undefined).split("/");
    let row = 1;
    if (names.length === 1 && names[0] === "") return row;
    for (const name of names) {
      row = tree.find(row, name);
      if (row === NO_ROW || tree.isDead(row)) return NO_ROW;
    }
    return tree.isFolder(row) === folder ? row : NO_ROW;
  }

  // ---- what goes with the bytes ----

  /** Replaces what is known of a file's attributes. */
  setMetadata(inode: Inode, metadata: FileMetadata): void {
    inode.metadata = metadata;
    const row = this.row(inode);
    if (row !== NO_ROW && !inode.unlinked) this.#parts.metadata.set(row, metadata);
  }

  /** Everything that the object says of itself, foreign entries included: asked for where it is not known. */
  async learn(inode: Inode): Promise<FileMetadata> {
    const { metadata, tree } = this.#parts;
    for (let tries = LEARN_TRIES; tries > 0 && this.#isUnknown(inode); tries--) {
      await metadata.fetch(this.row(inode));
      const row = this.row(inode);
      inode.metadata = metadata.get(row) ?? inode.metadata;
      // Else it has become another version meanwhile.
      if (row === NO_ROW || tree.table.has(row, Flag.suspect)) break;
    }
    return inode.metadata;
  }

  #isUnknown(inode: Inode): boolean {
    return inode.version !== undefined && this.isNamed(inode) && !this.#parts.metadata.has(this.row(inode));
  }

  /** The stored form, for a staged file: without mtime. @throws `no_space` when it is too much */
  stored(inode: Inode): StoredMetadata {
    const { tree } = this.#parts;
    const row = this.row(inode);
    const name = row === NO_ROW ? "" : tree.table.name(row);
    return formatFileMetadata(name, row === NO_ROW ? "file" : tree.type(row), inode.metadata);
  }

  // ---- staged files ----

  attach(inode: Inode, file: StagedFile, { fromScratch }: { fromScratch: boolean }): void {
    inode.staged = file;
    inode.fromScratch = fromScratch;
    this.#byFile.set(file.id, inode);
    this.holdOpen(inode);
    this.claim(inode);
  }

  /** The file is this mount's to change: listings leave it alone, and its mtime is the one in the row. */
  claim(inode: Inode): void {
    const row = this.row(inode);
    if (row === NO_ROW) return;
    const { tree } = this.#parts;
    if (inode.metadata.mtimeMs !== undefined) {
      tree.setMtime(row, inode.metadata.mtimeMs);
      this.setMetadata(inode, { ...inode.metadata, mtimeMs: undefined });
    }
    if (this.isNamed(inode)) tree.claim(row);
  }

  /** Keeps the staged file for as long as there are handles or changes: published, its local file is the cache's. */
  holdOpen(inode: Inode): void {
    if (!isInUse(inode) || inode.held === inode.staged) return;
    inode.held?.unhold();
    inode.held = inode.staged;
    inode.held?.hold();
  }

  /** The staged file is not this inode's any more. */
  detach(inode: Inode): void {
    if (inode.staged) this.#byFile.delete(inode.staged.id);
    inode.staged = undefined;
    inode.touched = false;
    inode.fromScratch = false;
  }

  /** A change that takes its time begins: the inode, and its staged file, stay until it has ended. */
  beginChange(inode: Inode): void {
    inode.changes++;
    this.holdOpen(inode);
  }

  endChange(inode: Inode): void {
    inode.changes--;
    this.closed(inode);
  }

  /** Lets go of what nobody uses any more. */
  closed(inode: Inode): void {
    if (isInUse(inode)) return;
    inode.held?.unhold();
    inode.held = undefined;
    if (inode.staged && (inode.staged.state === "published" || inode.unlinked)) this.detach(inode);
    this.dropIdle(inode);
  }

  /** Asks the staged file for size and mtime where they may have changed. */
  refresh(inode: Inode): void {
    const file = inode.staged;
    if (!file || !inode.touched) return;
    const { size, mtime } = file.stamp();
    const row = this.row(inode);
    if (row === NO_ROW) return;
    const { tree } = this.#parts;
    tree.setSize(row, size);
    tree.setMtime(row, wholeMicroseconds(mtime));
    // While the kernel writes by itself every question is asked anew.
    if (inode.serving !== "passthrough" || inode.writers === 0) inode.touched = false;
  }

  // ---- versions ----

  size(inode: Inode): number {
    const row = this.row(inode);
    return row === NO_ROW
      ? (inode.version?.sizeBytes ?? 0)
      : this.#parts.tree.table.getDouble(row, Double.size);
  }

  setSize(inode: Inode, sizeBytes: number): void {
    const row = this.row(inode);
    if (row !== NO_ROW) this.#parts.tree.setSize(row, sizeBytes);
  }

  mtimeMs(inode: Inode): number {
    if (inode.metadata.mtimeMs !== undefined) return inode.metadata.mtimeMs;
    const row = this.row(inode);
    return row === NO_ROW
      ? (inode.version?.mtimeMs ?? 0)
      : this.#parts.tree.table.getDouble(row, Double.mtimeMs);
  }

  /** The object is on its way from the version's key to the path's. */
  setMoving(inode: Inode, moving: boolean): void {
    if (inode.movedFrom !== undefined && this.#moving.get(inode.movedFrom) === inode)
      this.#moving.delete(inode.movedFrom);
    inode.movedFrom = moving ? inode.version?.key : undefined;
    if (inode.movedFrom !== undefined) this.#moving.set(inode.movedFrom, inode);
    inode.moving = moving;
  }

  /**
   * The object was not found under the key that it is moved from.
   *
   * @returns true when it is to be looked for under the path's own key from now on
   */
  hasArrived(inode: Inode): boolean {
    const { version } = inode;
    if (!inode.moving || !version || !this.isNamed(inode)) return false;
    const key = this.key(inode);
    if (version.key === key) return false;
    inode.version = { ...version, key };
    return true;
  }

  /** The bucket has this version of a file now, under the path's key; a staged file that is older is done with. */
  settle(inode: Inode, version: ObjectVersion, now: number): void {
    this.setMoving(inode, false);
    inode.version = version;
    if (!this.isNamed(inode)) return;
    const row = this.row(inode);
    const { tree } = this.#parts;
    if (inode.staged && inode.staged.state !== "published") return;
    tree.rewrite(row, version);
    // What is not known yet is told by the object itself.
    if (this.#parts.metadata.has(row))
      this.setMetadata(inode, { ...inode.metadata, mtimeMs: version.mtimeMs });
    this.settleRow(row, now);
  }

  /** The row, and the folders it is in, are true of the bucket. */
  settleRow(row: Row, now: number): void {
    const { tree } = this.#parts;
    for (let at = row; at !== NO_ROW; at = tree.parent(at))
      if (tree.isLocal(at)) this.#claims.settleRow(at, now);
  }
}

function isInUse({ opens, changes }: Inode): boolean {
  return opens > 0 || changes > 0;
}
