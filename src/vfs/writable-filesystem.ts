/**
 * WritableFilesystem: a volume that can be changed, as the kernel sees it.
 *
 * It stands on a read-only volume, which knows names and lists folders, and puts the parts of the writable half
 * together: Claims tell listings what this mount knows better, Inodes say where a file's bytes are, Staging and
 * WritableFiles change them, NameChanges and Renames the names, AttributeChanges all else; ShownAttributes is what the
 * kernel is told, Durability what it waits for. Write-back has journaled each change before the kernel hears of it, and
 * brings it to the bucket behind it.
 *
 * Node ids: a file keeps its node id over renames and publications, because locks and the page cache belong to it. A
 * version that somebody else has put there gets another one, but never while a file is open.
 */
import type { Content } from "../cache/content.ts";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { WriteBack } from "../writeback/write-back.ts";
import { AttributeChanges } from "./attribute-changes.ts";
import { Claims } from "./claims.ts";
import { copyRange } from "./copy-range.ts";
import { Durability } from "./durability.ts";
import { S_IFMT, typeOfMode } from "./file-type.ts";
import type {
  AttributesReply,
  Caller,
  DirentSink,
  Entry,
  Filesystem,
  HandleId,
  Kernel,
  NodeId,
  OpenFlags,
  OpenReply,
  ReadReply,
  SetAttributes,
  StatfsReply,
} from "./filesystem.ts";
import { FolderMarkers } from "./folder-markers.ts";
import { Flag } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inode } from "./inodes.ts";
import { Inodes } from "./inodes.ts";
import type { UnreachableKey } from "./key-path.ts";
import { normalizePrefix } from "./key-path.ts";
import { isBeingKilled } from "./killed-writer.ts";
import { NameChanges } from "./name-changes.ts";
import { NameLocks } from "./name-locks.ts";
import { OpenRemovals } from "./open-removals.ts";
import { Renames } from "./renames.ts";
import { restoreNames } from "./restore.ts";
import { Serving } from "./serving.ts";
import { ShownAttributes } from "./shown-attributes.ts";
import { Strays } from "./strays.ts";
import { Staging } from "./staging.ts";
import { VolumeFilesystem } from "./volume-filesystem.ts";
import type { VolumeCounts, VolumeFilesystemOptions, VolumeParts } from "./volume-filesystem.ts";
import type { TreeNeighbours } from "./tree-neighbours.ts";
import type { VolumeFiles } from "./volume-files.ts";
import { WritableFiles } from "./writable-files.ts";
import type { WritableHandle } from "./writable-files.ts";
import { WriteEvents } from "./write-events.ts";
import { checkNamespace, XattrChanges, xattrOf } from "./xattr-changes.ts";

export interface WritableFilesystemOptions extends VolumeFilesystemOptions {
  writeBack: WriteBack;
  /** Told of each key that has content in the bucket which this mount has brought there. */
  uploaded?: ((key: string) => void) | undefined;
  /** What fsync waits for; `bucket` when absent. */
  fsync?: "bucket" | "local" | undefined;
  /** For tests: whether a signal is ending the process. */
  isBeingKilled?: ((pid: number) => boolean) | undefined;
}

/** Shows what write-back has restored, and listens to it. */
export async function createWritableFilesystem(
  options: WritableFilesystemOptions,
): Promise<WritableFilesystem> {
  const filesystem = new WritableFilesystem(options);
  await filesystem.restore();
  return filesystem;
}

export class WritableFilesystem implements Filesystem {
  readonly #volume: VolumeFilesystem;
  readonly #parts: VolumeParts;
  readonly #clock: Clock;
  readonly #content: Content;
  readonly #logger: Pick<Logger, "warn">;
  readonly #writeBack: WriteBack;
  readonly #claims: Claims;
  readonly #inodes: Inodes;
  readonly #shown: ShownAttributes;
  readonly #serving: Serving;
  readonly #files: WritableFiles;
  readonly #markers: FolderMarkers;
  readonly #removals = new OpenRemovals();
  readonly #strays: Strays;
  readonly #names: NameChanges;
  readonly #renames: Renames;
  readonly #attributes: AttributeChanges;
  readonly #xattrs: XattrChanges;
  readonly #durability: Durability;
  readonly #events: WriteEvents;

  constructor(options: WritableFilesystemOptions) {
    const { writeBack, clock, logger, content, fsync = "bucket" } = options;
    const prefix = normalizePrefix(options.options?.prefix ?? "");
    this.#claims = new Claims(prefix, () => this.#parts.lister.oldestListing);
    this.#volume = new VolumeFilesystem(options, {
      claims: this.#claims,
      isChanging: (nodeId) => this.#inodes.get(nodeId)?.touched ?? false,
    });
    this.#parts = this.#volume.parts;
    this.#clock = clock;
    this.#content = content;
    this.#logger = logger;
    this.#writeBack = writeBack;
    this.#inodes = new Inodes(this.#parts, this.#claims);
    this.#shown = new ShownAttributes(this.#parts, this.#inodes);
    const locks = new NameLocks();
    this.#serving = new Serving(fsync === "local");
    this.#files = new WritableFiles({
      inodes: this.#inodes,
      staging: new Staging(this.#inodes, writeBack, locks),
      serving: this.#serving,
      content,
      takeHandle: this.#parts.takeHandle,
      isBeingKilled: options.isBeingKilled ?? isBeingKilled,
      opened: (inode) => this.#claims.hold(inode.nodeId),
      closed: (inode) => this.#closed(inode),
      suspect: (inode) => this.#suspect(inode),
    });
    this.#strays = new Strays(this.#claims, clock, (key) => this.#writeBack.isBusy(key));
    const shared = {
      parts: this.#parts,
      claims: this.#claims,
      inodes: this.#inodes,
      removals: this.#removals,
      strays: this.#strays,
      writeBack,
      locks,
      clock,
      logger,
    };
    this.#markers = new FolderMarkers(shared);
    const names = { ...shared, markers: this.#markers };
    this.#names = new NameChanges(names);
    this.#renames = new Renames(names, this.#names);
    this.#attributes = new AttributeChanges(names);
    this.#xattrs = new XattrChanges(this.#attributes);
    this.#durability = new Durability({ ...names, fsync });
    this.#events = new WriteEvents({ ...names, uploaded: options.uploaded });
  }

  /** To be called once, before the first request. */
  async restore(): Promise<void> {
    // Uploads that were taken up again are under way: from here on nothing of them may be missed.
    this.#writeBack.onEvents(this.#events);
    const shown = { parts: this.#parts, claims: this.#claims, inodes: this.#inodes, clock: this.#clock };
    await restoreNames(this.#writeBack, shown);
  }

  attach(kernel: Kernel): void {
    this.#volume.attach(kernel);
    this.#serving.attach(kernel);
    this.#events.attach(kernel);
  }

  get neighbours(): TreeNeighbours {
    return this.#volume.neighbours;
  }

  get volumeFiles(): VolumeFiles {
    return this.#volume.volumeFiles;
  }

  unreachableKeys(): UnreachableKey[] {
    return this.#volume.unreachableKeys();
  }

  counts(): VolumeCounts {
    return { ...this.#volume.counts(), openFiles: this.#files.size };
  }

  /** Resolves when everything written so far below a path is in the bucket. @throws the first failure that stays */
  async flushBelow(path: string, signal?: AbortSignal): Promise<void> {
    await this.#durability.flushBelow(path, signal);
  }

  /** Forgets what listings said below a path. @returns names that the kernel was told to forget */
  async refresh(path: string): Promise<number> {
    return await this.#volume.refresh(path);
  }

  async close(): Promise<void> {
    await this.#files.close();
    // Folders that are empty now have no other trace: write-back takes them along.
    await this.#markers.settle().catch((error: unknown) => {
      this.#logger.warn({ error }, "empty folders could not be noted");
    });
    this.#markers.close();
    this.#strays.close();
    this.#removals.letAllGo();
    await this.#volume.close();
  }

  // ---- names ----

  lookup(parent: NodeId, name: string, caller: Caller): MaybePromise<Entry> {
    const found = this.#volume.lookup(parent, name, caller);
    if (found instanceof Promise) return found.then((entry) => this.#shown.fresh(entry));
    return this.#shown.fresh(found);
  }

  forget(nodeId: NodeId, count: number): void {
    this.#volume.forget(nodeId, count);
    if (this.#parts.tree.table.rowOf(nodeId) === NO_ROW) this.#serving.forget(nodeId);
  }

  readlink(nodeId: NodeId, caller: Caller): Promise<string> {
    const inode = this.#inodes.get(nodeId);
    return inode ? this.#readLink(inode, caller) : this.#volume.readlink(nodeId, caller);
  }

  async #readLink(inode: Inode, caller: Caller): Promise<string> {
    const row = this.#inodes.row(inode);
    if (row === NO_ROW || this.#parts.tree.type(row) !== "symlink")
      throw new HawserError("invalid_argument", "The file is not a symbolic link.");
    const size = this.#inodes.size(inode);
    if (inode.staged) return Buffer.from(await inode.staged.read(0, size)).toString("utf8");
    const reader = this.#content.open(inode.version!, { pid: caller.pid });
    try {
      const span = await reader.read(0, size, caller.signal);
      const target = Buffer.concat(span.chunks).toString("utf8");
      span.release();
      return target;
    } finally {
      reader.close();
    }
  }

  async create(
    parent: NodeId,
    name: string,
    mode: number,
    flags: OpenFlags,
    caller: Caller,
  ): Promise<{ entry: Entry; open: OpenReply }> {
    const { row, isNew } = await this.#names.create(parent, name, mode, caller, flags);
    const entry = this.#shown.entry(row);
    try {
      if (isNew) {
        const inode = this.#inodes.of(row);
        const open = this.#files.openNew(inode, flags, caller);
        entry.attributeTtlMs = this.#shown.ttl(inode, entry.attributeTtlMs);
        return { entry, open };
      }
      const open = await this.open(entry.nodeId, flags, caller);
      return { entry: this.#shown.fresh(entry), open };
    } catch (error) {
      this.forget(entry.nodeId, 1);
      throw error;
    }
  }

  async mknod(parent: NodeId, name: string, mode: number, rdev: number, caller: Caller): Promise<Entry> {
    const type = (mode & S_IFMT) === 0 ? "file" : typeOfMode(mode);
    if (type === undefined || type === "directory" || type === "symlink")
      throw new HawserError("invalid_argument", "This type of node is not made by mknod.");
    return this.#shown.entry(
      await this.#names.mknod(parent, name, { type, mode: mode & ~S_IFMT, rdev }, caller),
    );
  }

  async mkdir(parent: NodeId, name: string, mode: number, caller: Caller): Promise<Entry> {
    return this.#shown.entry(await this.#names.mkdir(parent, name, mode, caller));
  }

  async symlink(parent: NodeId, name: string, target: string, caller: Caller): Promise<Entry> {
    return this.#shown.entry(await this.#names.symlink(parent, name, target, caller));
  }

  link(): never {
    throw new HawserError("not_permitted", "A bucket has no hard links.");
  }

  unlink(parent: NodeId, name: string, caller: Caller): Promise<void> {
    return this.#names.unlink(parent, name, caller);
  }

  rmdir(parent: NodeId, name: string, caller: Caller): Promise<void> {
    return this.#names.rmdir(parent, name, caller);
  }

  rename(
    from: { parent: NodeId; name: string },
    to: { parent: NodeId; name: string },
    flags: { noReplace: boolean; exchange: boolean },
    caller: Caller,
  ): Promise<void> {
    return this.#renames.rename(from, to, flags, caller);
  }

  // ---- attributes ----

  getattr(nodeId: NodeId, handle: HandleId | undefined, caller: Caller): MaybePromise<AttributesReply> {
    const inode = this.#inodes.get(nodeId);
    if (!inode) return this.#volume.getattr(nodeId, handle, caller);
    return this.#shown.of(inode);
  }

  async setattr(nodeId: NodeId, changes: SetAttributes, caller: Caller): Promise<AttributesReply> {
    const { sizeBytes, handle } = changes;
    if (sizeBytes !== undefined) {
      const file = handle === undefined ? undefined : this.#files.get(handle);
      await this.#truncate(file?.inode ?? this.#inodes.of(this.#fileRow(nodeId)), sizeBytes, file);
    }
    await this.#attributes.set(nodeId, changes);
    return await this.getattr(nodeId, handle, caller);
  }

  async #truncate(inode: Inode, sizeBytes: Bytes, file: WritableHandle | undefined): Promise<void> {
    await this.#files.truncate(inode, sizeBytes, file);
    if (!file) this.#serving.pagesChanged(inode.nodeId);
  }

  statfs(nodeId: NodeId, caller: Caller): StatfsReply {
    return this.#volume.statfs(nodeId, caller);
  }

  getxattr(nodeId: NodeId, name: string, caller: Caller): MaybePromise<Uint8Array> {
    checkNamespace(name);
    if (name.startsWith("user.hawser.")) return this.#volume.getxattr(nodeId, name, caller);
    return xattrOf(this.#shown.metadataOf(nodeId), name);
  }

  listxattr(nodeId: NodeId, _caller: Caller): string[] {
    return [...(this.#shown.metadataOf(nodeId)?.xattrs?.keys() ?? [])];
  }

  setxattr(
    nodeId: NodeId,
    name: string,
    value: Uint8Array,
    flags: { create: boolean; replace: boolean },
    _caller: Caller,
  ): Promise<void> {
    return this.#xattrs.set(nodeId, name, value, flags);
  }

  removexattr(nodeId: NodeId, name: string, _caller: Caller): Promise<void> {
    return this.#xattrs.remove(nodeId, name);
  }

  // ---- files ----

  async open(nodeId: NodeId, flags: OpenFlags, caller: Caller): Promise<OpenReply> {
    const row = this.#fileRow(nodeId);
    if (this.#parts.tree.table.has(row, Flag.suspect) && !this.#parts.tree.isLocal(row))
      throw new HawserError("stale", "The file was replaced or removed.");
    const reply = await this.#files.open(this.#inodes.of(row), flags, caller);
    if (flags.truncate && flags.killSuidGid) await this.#attributes.killSetId(nodeId);
    return reply;
  }

  /** The row of a file's node id under its present name. @throws `stale`, `is_a_directory` */
  #fileRow(nodeId: NodeId): Row {
    const { tree } = this.#parts;
    const row = tree.table.rowOf(nodeId);
    const unlinked = this.#inodes.get(nodeId)?.unlinked ?? false;
    if (row === NO_ROW || (!tree.isAttached(row) && !unlinked))
      throw new HawserError("stale", "The file was replaced or removed.");
    if (tree.isFolder(row)) throw new HawserError("is_a_directory", "The path is a folder.");
    return row;
  }

  #closed(inode: Inode): void {
    this.#claims.unhold(inode.nodeId);
    this.#removals.closed(inode.nodeId);
  }

  #suspect(inode: Inode): void {
    const row = this.#inodes.row(inode);
    if (this.#inodes.isNamed(inode)) this.#parts.tree.table.setFlag(row, Flag.suspect, true);
  }

  read(handle: HandleId, offset: Bytes, length: Bytes, caller: Caller): MaybePromise<ReadReply> {
    return this.#files.read(this.#files.get(handle), offset, length, caller);
  }

  async write(
    handle: HandleId,
    offset: Bytes,
    data: Uint8Array,
    { killSuidGid }: { killSuidGid: boolean },
    _caller: Caller,
  ): Promise<Bytes> {
    const file = this.#files.get(handle);
    const taken = await this.#files.write(file, offset, data);
    if (killSuidGid) await this.#attributes.killSetId(file.inode.nodeId);
    return taken;
  }

  flush(handle: HandleId, _lockOwner: bigint, caller: Caller): MaybePromise<void> {
    return this.#files.flush(this.#files.get(handle), caller);
  }

  async fsync(handle: HandleId, _dataOnly: boolean, _caller: Caller): Promise<void> {
    await this.#durability.fsync(this.#files.get(handle).inode);
  }

  release(handle: HandleId, _flockOwner?: bigint): MaybePromise<void> {
    return this.#files.release(handle);
  }

  fallocate(handle: HandleId, mode: number, offset: Bytes, length: Bytes, _caller: Caller): Promise<void> {
    return this.#files.allocate(this.#files.get(handle), mode, offset, length);
  }

  lseek(handle: HandleId, offset: Bytes, whence: "data" | "hole", _caller: Caller): MaybePromise<Bytes> {
    return this.#files.seek(this.#files.get(handle), offset, whence);
  }

  async copyFileRange(
    from: { handle: HandleId; offset: Bytes },
    to: { handle: HandleId; offset: Bytes },
    length: Bytes,
    caller: Caller,
  ): Promise<Bytes> {
    const source = { file: this.#files.get(from.handle), offset: from.offset };
    const target = { file: this.#files.get(to.handle), offset: to.offset };
    return await copyRange(this.#files, source, target, length, caller);
  }

  // ---- folders ----

  opendir(nodeId: NodeId, caller: Caller): OpenReply {
    return this.#volume.opendir(nodeId, caller);
  }

  readdir(handle: HandleId, offset: number, sink: DirentSink, caller: Caller): MaybePromise<void> {
    return this.#volume.readdir(handle, offset, sink, caller);
  }

  releasedir(handle: HandleId): void {
    this.#volume.releasedir(handle);
  }

  async fsyncdir(handle: HandleId, _dataOnly: boolean, caller: Caller): Promise<void> {
    await this.#durability.fsyncFolder(this.#volume.openFolder(handle), caller.signal);
  }
}
