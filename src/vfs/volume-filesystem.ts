/**
 * VolumeFilesystem: a read-only volume as the kernel sees it.
 *
 * It puts the parts together and decides nothing itself: the Tree knows names, the Lister makes it know them, the
 * Content has bytes, OpenFiles and OpenFolders are what is open. Whatever is in memory is answered without a promise.
 */
import type { Content } from "../cache/content.ts";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { fillAttributes, newAttributes, newEntry } from "./attributes.ts";
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
  StatfsReply,
} from "./filesystem.ts";
import { Housekeeping } from "./housekeeping.ts";
import type { Claims } from "./claims.ts";
import { Double, Flag } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { NAME_MAX, normalizePrefix } from "./key-path.ts";
import type { UnreachableKey } from "./key-path.ts";
import { Lister } from "./lister.ts";
import { MetadataSource } from "./metadata-source.ts";
import { folderKeyOf, objectVersion } from "./object-version.ts";
import { OpenFiles } from "./open-files.ts";
import { OpenFolders } from "./open-folders.ts";
import { resolveVolumeOptions } from "./options.ts";
import type { ResolvedVolumeOptions, VolumeOptions } from "./options.ts";
import { refreshNames } from "./refresh.ts";
import { ReadOnly } from "./read-only.ts";
import { TreeNeighbours } from "./tree-neighbours.ts";
import { Tree } from "./tree.ts";
import { UnreachableNotes } from "./unreachable.ts";
import { utf8Length } from "../common/utf8.ts";
import { VolumeFiles } from "./volume-files.ts";

export interface VolumeFilesystemOptions {
  store: ObjectStore;
  content: Content;
  clock: Clock;
  logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  options?: VolumeOptions | undefined;
}

/** What a writable volume is put on top of. */
export interface VolumeParts {
  readonly options: ResolvedVolumeOptions;
  readonly prefix: string;
  readonly tree: Tree;
  readonly lister: Lister;
  readonly metadata: MetadataSource;
  readonly takeHandle: () => HandleId;
}

/** What makes the read-only half of a writable volume. */
export interface WritableHooks {
  claims: Claims;
  /** True for a file whose attributes are being changed by writers: they are asked for one by one. */
  isChanging(nodeId: NodeId): boolean;
}

/** What a volume holds at the moment. */
export interface VolumeCounts {
  /** Paths in memory. */
  entries: number;
  /** Memory of the tree. */
  treeBytes: Bytes;
  openFiles: number;
  openFolders: number;
  /** Opens that the channel has answered by itself. */
  answeredOpens: number;
  /** Replaced versions that the kernel still refers to. */
  replacedVersions: number;
}

/** Objects whose metadata is asked for ahead of a reader of their folder. */
const METADATA_AHEAD = 64;
/** Lookups tried again because the version changed between listing and HEAD. */
const LOOKUP_TRIES = 3;
/** A petabyte in blocks of 4 KiB: S3 has no size, and installers ask for one. */
const STATFS: StatfsReply = {
  blockSize: 4096,
  blocks: 2 ** 38,
  blocksFree: 2 ** 38,
  blocksAvailable: 2 ** 38,
  files: 2 ** 40,
  filesFree: 2 ** 40,
  nameMax: NAME_MAX,
};
const DOT = Buffer.from(".");
const DOT_DOT = Buffer.from("..");

/** A read-only volume. Nothing is asked of the store before the first request. */
export function createVolumeFilesystem(options: VolumeFilesystemOptions): VolumeFilesystem {
  return new VolumeFilesystem(options);
}

export class VolumeFilesystem extends ReadOnly implements Filesystem {
  /** What lies beside and below files, for who fetches ahead. */
  readonly neighbours: TreeNeighbours;
  /** Object versions by path, for who fetches what was asked for by path. */
  readonly volumeFiles: VolumeFiles;
  readonly #options: ResolvedVolumeOptions;
  readonly #prefix: string;
  readonly #content: Content;
  readonly #tree: Tree;
  readonly #lister: Lister;
  readonly #metadata: MetadataSource;
  readonly #notes: UnreachableNotes;
  readonly #files: OpenFiles;
  readonly #folders: OpenFolders;
  readonly #housekeeping: Housekeeping;
  readonly #hooks: WritableHooks | undefined;
  /** One for all entries of all readdirs: a sink has encoded it before it asks for the next. */
  readonly #dirent = newEntry();
  #lastHandle = 0;
  #kernel: Kernel | undefined;

  constructor(
    { store, content, clock, logger, options = {} }: VolumeFilesystemOptions,
    hooks?: WritableHooks,
  ) {
    super();
    this.#hooks = hooks;
    this.#options = resolveVolumeOptions(options);
    this.#prefix = normalizePrefix(options.prefix ?? "");
    this.#content = content;
    this.#notes = new UnreachableNotes(logger);
    this.#tree = new Tree(
      clock.now(),
      (row) => {
        this.#files.endAnswering(this.#tree.table.nodeId(row));
        this.#lister.rowChanged(row);
        this.#metadata.rowChanged(row);
      },
      hooks?.claims,
    );
    const shared = { store, clock, logger, tree: this.#tree, prefix: this.#prefix, ...this.#options };
    this.#lister = new Lister({ ...shared, notes: this.#notes });
    this.neighbours = new TreeNeighbours({ ...shared, lister: this.#lister });
    this.volumeFiles = new VolumeFiles({ ...shared, lister: this.#lister, neighbours: this.neighbours });
    this.#metadata = new MetadataSource({ ...shared, level: this.#options.metadata });
    const takeHandle = (): HandleId => ++this.#lastHandle;
    // Where files are written, what is open of one decides how it may be opened next.
    this.#files = new OpenFiles(takeHandle, hooks ? undefined : (nodeId) => this.#isCurrent(nodeId));
    this.#folders = new OpenFolders(this.#tree, this.#lister, takeHandle);
    this.#housekeeping = new Housekeeping({ ...shared, lister: this.#lister });
  }

  /** For the writable volume alone. */
  get parts(): VolumeParts {
    return {
      options: this.#options,
      prefix: this.#prefix,
      tree: this.#tree,
      lister: this.#lister,
      metadata: this.#metadata,
      takeHandle: () => ++this.#lastHandle,
    };
  }

  attach(kernel: Kernel): void {
    this.#kernel = kernel;
    this.#files.attach(kernel);
  }

  /** Keys met so far that no path leads to; `findUnreachableKeys` finds all. */
  unreachableKeys(): UnreachableKey[] {
    return this.#notes.list();
  }

  counts(): VolumeCounts {
    return {
      entries: this.#tree.table.live,
      treeBytes: this.#tree.byteLength,
      openFiles: this.#files.size,
      openFolders: this.#folders.size,
      answeredOpens: this.#files.answeredTotal,
      replacedVersions: this.#tree.table.ghosts,
    };
  }

  /** Forgets what listings said below a path. @returns names that the kernel was told to forget */
  refresh(path: string): Promise<number> {
    return refreshNames(path, this.parts, this.#kernel);
  }

  async close(): Promise<void> {
    this.#housekeeping.close();
    this.neighbours.close();
    this.#lister.close();
    this.#folders.close();
    this.#files.close();
  }

  // ---- names ----

  lookup(parent: NodeId, name: string, caller: Caller): MaybePromise<Entry> {
    return this.#lookup(parent, name, caller, LOOKUP_TRIES);
  }

  #lookup(parent: NodeId, name: string, caller: Caller, tries: number): MaybePromise<Entry> {
    const folder = this.#row(parent);
    if (!this.#tree.isFolder(folder)) throw new HawserError("not_a_directory", "The path is not a folder.");
    if (name.length * 3 > NAME_MAX && utf8Length(name) > NAME_MAX) {
      throw new HawserError("name_too_long", `The name is longer than ${NAME_MAX} bytes.`);
    }
    return this.#lister.lookup(
      folder,
      name,
      () => caller.signal,
      (row): MaybePromise<Entry> => {
        if (row === NO_ROW) return this.#negativeEntry(folder);
        if (this.#metadata.isKnown(row)) return this.#entry(folder, row);
        return this.#lookupWithMetadata(parent, name, row, caller, tries);
      },
    );
  }

  async #lookupWithMetadata(
    parent: NodeId,
    name: string,
    row: Row,
    caller: Caller,
    tries: number,
  ): Promise<Entry> {
    if (tries === 0) throw new HawserError("stale", `'${name}' keeps changing.`);
    await this.#metadata.fetch(row);
    return this.#lookup(parent, name, caller, tries - 1);
  }

  #entry(folder: Row, row: Row): Entry {
    const entry = newEntry();
    this.#fillEntry(entry, folder, row);
    this.#tree.reference(row);
    return entry;
  }

  #fillEntry(entry: Entry, folder: Row, row: Row): void {
    const ttl = this.#lister.ttl(folder, row);
    entry.nodeId = this.#tree.table.nodeId(row);
    entry.entryTtlMs = ttl;
    entry.attributeTtlMs = ttl;
    fillAttributes(entry.attributes, this.#tree, row, this.#options, this.#metadata.get(row));
  }

  #negativeEntry(folder: Row): Entry {
    const entry = newEntry();
    entry.entryTtlMs = this.#lister.ttl(folder, NO_ROW);
    return entry;
  }

  forget(nodeId: NodeId, count: number): void {
    this.#tree.forget(nodeId, count);
  }

  /** The row that answers for a node id, be it replaced or gone. */
  #row(nodeId: NodeId): Row {
    const row = this.#tree.table.rowOf(nodeId);
    if (row === NO_ROW) throw new HawserError("stale", `Node ${nodeId} is not known any more.`);
    return row;
  }

  /** The row of a node id whose version is the path's present one. */
  #presentRow(nodeId: NodeId): Row {
    const row = this.#row(nodeId);
    if (!this.#tree.isAttached(row)) throw new HawserError("stale", "The file was replaced or removed.");
    return row;
  }

  // ---- attributes ----

  getattr(nodeId: NodeId, _handle?: HandleId, _caller?: Caller): MaybePromise<AttributesReply> {
    const row = this.#row(nodeId);
    if (this.#metadata.isKnown(row) || !this.#tree.isAttached(row)) return this.#attributes(row);
    return this.#metadata.fetch(row).then(() => this.#attributes(this.#row(nodeId)));
  }

  #attributes(row: Row): AttributesReply {
    const attributes = newAttributes();
    fillAttributes(attributes, this.#tree, row, this.#options, this.#metadata.get(row));
    if (!this.#tree.isAttached(row)) attributes.nlink = 0;
    const parent = this.#tree.parent(row);
    const attributeTtlMs = parent === NO_ROW ? this.#lister.rootTtl : this.#lister.ttl(parent, row);
    return { attributes, attributeTtlMs };
  }

  async readlink(nodeId: NodeId, caller: Caller): Promise<string> {
    const row = this.#presentRow(nodeId);
    if (this.#tree.type(row) !== "symlink") {
      throw new HawserError("invalid_argument", "The file is not a symbolic link.");
    }
    const reader = this.#openReader(row, caller);
    try {
      const span = await reader.read(0, reader.version.sizeBytes, caller.signal);
      const target = Buffer.concat(span.chunks).toString("utf8");
      span.release();
      return target;
    } finally {
      reader.close();
    }
  }

  statfs(_nodeId: NodeId, _caller: Caller): StatfsReply {
    return STATFS;
  }

  getxattr(nodeId: NodeId, name: string, _caller: Caller): Uint8Array {
    const row = this.#row(nodeId);
    if (!this.#tree.isFolder(row)) {
      if (name === "user.hawser.etag") return Buffer.from(this.#tree.table.etag(row));
      if (name === "user.hawser.storage-class") {
        return Buffer.from(this.#tree.table.storageClass(row) ?? "STANDARD");
      }
    }
    throw new HawserError("no_attribute", `There is no attribute '${name}'.`);
  }

  /** Empty: attributes that describe the object are answered when asked for, and not offered to `cp -a` to copy. */
  listxattr(_nodeId: NodeId, _caller: Caller): string[] {
    return [];
  }

  // ---- files ----

  open(nodeId: NodeId, flags: OpenFlags, caller: Caller): MaybePromise<OpenReply> {
    const row = this.#presentRow(nodeId);
    if (this.#tree.isFolder(row)) throw new HawserError("is_a_directory", "The path is a folder.");
    if (flags.write || flags.truncate)
      throw new HawserError("volume_readonly", "The volume is mounted read-only.");
    if (this.#isSuspect(row)) {
      throw new HawserError("stale", "The file was replaced or removed.");
    }
    return this.#files.open(nodeId, this.#openReader(row, caller), flags.direct);
  }

  #openReader(row: Row, caller: Caller): ReturnType<Content["open"]> {
    const folderKey = folderKeyOf(this.#tree, this.#prefix, this.#tree.parent(row));
    const version = objectVersion(this.#tree, folderKey, row);
    return this.#content.open(version, { pid: caller.pid });
  }

  read(handle: HandleId, offset: Bytes, length: Bytes, caller: Caller): MaybePromise<ReadReply> {
    const { reader, nodeId } = this.#files.get(handle);
    const span = reader.read(offset, length, caller.waiter);
    if (!(span instanceof Promise)) return span;
    return span.catch((error: unknown) => {
      if (HawserError.is(error, "stale", "object_changed")) this.#suspect(nodeId);
      throw error;
    });
  }

  /** The node is its path's present version, as far as is known. */
  #isCurrent(nodeId: NodeId): boolean {
    const row = this.#tree.table.rowOf(nodeId);
    return row !== NO_ROW && this.#tree.isAttached(row) && !this.#isSuspect(row);
  }

  #isSuspect(row: Row): boolean {
    return !this.#tree.isFolder(row) && this.#tree.table.has(row, Flag.suspect);
  }

  /** The store has told that a version is gone: the next open must find out what is there now. */
  #suspect(nodeId: NodeId): void {
    const row = this.#tree.table.rowOf(nodeId);
    if (row === NO_ROW || !this.#tree.isAttached(row)) return;
    this.#tree.table.setFlag(row, Flag.suspect, true);
    this.#files.endAnswering(nodeId);
  }

  flush(): void {}

  fsync(): void {}

  release(handle: HandleId): void {
    this.#files.release(handle);
  }

  /** Objects have no holes: all is data, and the one hole is behind the end. */
  lseek(handle: HandleId, offset: Bytes, whence: "data" | "hole", _caller: Caller): Bytes {
    const size = this.#files.get(handle).reader.version.sizeBytes;
    if (offset >= size) throw new HawserError("beyond_end", "The offset is behind the end of the file.");
    return whence === "data" ? offset : size;
  }

  // ---- folders ----

  opendir(nodeId: NodeId, _caller: Caller): OpenReply {
    const row = this.#presentRow(nodeId);
    if (!this.#tree.isFolder(row)) throw new HawserError("not_a_directory", "The path is not a folder.");
    this.#lister.demand(row);
    return { handle: this.#folders.open(row), keepCache: false, directIo: false, noFlush: true };
  }

  readdir(handle: HandleId, offset: number, sink: DirentSink, caller: Caller): MaybePromise<void> {
    const folder = this.#folders.get(handle);
    this.#lister.demand(folder);
    let at = offset;
    if (at === 0) {
      if (!this.#addDot(sink, DOT, folder, 1)) return undefined;
      at = 1;
    }
    if (at === 1) {
      if (!this.#addDot(sink, DOT_DOT, this.#tree.parent(folder) || ROOT_ROW, 2)) return undefined;
      at = 2;
    }
    // What there is goes out at once, dots included; only an answer that would be empty, the end's sign, waits.
    let next = this.#folders.next(folder, at);
    for (; typeof next === "number"; next = this.#folders.next(folder, at)) {
      if (!this.#metadata.isKnown(next) && !this.#isSuspect(next)) break;
      if (!this.#add(sink, folder, next)) return undefined;
      at = this.#folders.offsetOf(next);
    }
    if (at !== offset || next === "end") return undefined;
    return this.#readdirLater(handle, at, sink, caller, next);
  }

  async #readdirLater(
    handle: HandleId,
    offset: number,
    sink: DirentSink,
    caller: Caller,
    next: Row | "wait",
  ): Promise<void> {
    const folder = this.#folders.get(handle);
    if (next === "wait") {
      await this.#lister.waitFor(folder, caller.signal, () =>
        this.#folders.next(folder, offset) === "wait" ? undefined : true,
      );
    } else {
      await this.#fetchAhead(folder, next);
    }
    return this.readdir(handle, offset, sink, caller);
  }

  /** Asks for the metadata of an entry and of those behind it. */
  async #fetchAhead(folder: Row, first: Row): Promise<void> {
    const fetches: Promise<void>[] = [];
    for (
      let next = first, at = 0;
      fetches.length < METADATA_AHEAD;
      next = this.#folders.next(folder, at) as Row
    ) {
      if (typeof next !== "number") break;
      if (!this.#metadata.isKnown(next) && !this.#isSuspect(next)) fetches.push(this.#metadata.fetch(next));
      at = this.#folders.offsetOf(next);
    }
    await Promise.all(fetches);
  }

  #add(sink: DirentSink, folder: Row, row: Row): boolean {
    const { table } = this.#tree;
    const offset = this.#folders.offsetOf(row);
    if (!sink.plus)
      return sink.add(table.nameBytes(row), table.getDouble(row, Double.ino), this.#tree.type(row), offset);
    this.#fillEntry(this.#dirent, folder, row);
    // Told as a name only: the lookup that follows finds out what is there now.
    if (this.#isSuspect(row) || this.#hooks?.isChanging(this.#dirent.nodeId)) this.#dirent.nodeId = 0;
    if (!sink.addPlus(table.nameBytes(row), this.#dirent, offset)) return false;
    if (this.#dirent.nodeId !== 0) this.#tree.reference(row);
    return true;
  }

  /** `.` and `..` are names without a lookup: the kernel knows both. */
  #addDot(sink: DirentSink, name: Uint8Array, row: Row, nextOffset: number): boolean {
    if (!sink.plus)
      return sink.add(name, this.#tree.table.getDouble(row, Double.ino), "directory", nextOffset);
    const entry = newEntry();
    fillAttributes(entry.attributes, this.#tree, row, this.#options, undefined);
    return sink.addPlus(name, entry, nextOffset);
  }

  /** The folder that is open as a handle. */
  openFolder(handle: HandleId): Row {
    return this.#folders.get(handle);
  }

  releasedir(handle: HandleId): void {
    this.#folders.release(handle);
  }

  fsyncdir(): void {}
}
