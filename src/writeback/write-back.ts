/**
 * WriteBack: what the filesystem may ask of the writable half of a volume.
 *
 * The filesystem owns names, node ids and permissions; write-back owns staged files, their journal and what has to be
 * done in the bucket. Keys here are full keys. Every method that changes something has journaled it when its promise
 * resolves: the filesystem answers the kernel only then. What is called in one turn of the event loop, without an await
 * in between, is journaled as one: a rename's drop, rekey and remove must be, or a crash leaves a part of it. See
 * README.md for the concepts.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";
import type { PutOptions } from "../store/object-store.ts";
import type { ByteRange } from "./part-plan.ts";
import type { FileStamp } from "./records.ts";
import type { Base } from "./verdict.ts";

/**
 * What goes with an object's bytes: user metadata (mode, owner, xattrs in their stored form), type and kept headers. The entry
 * `mtime` is write-back's for staged files: it is the local file's (see formatObjectTime) when the file is sealed.
 */
export type ObjectMeta = Pick<PutOptions, "metadata" | "contentType" | "headers">;

/** Reads bytes of the version a staged file was made from. Resolves with fewer bytes only at its end. */
export type ReadBase = (version: ObjectVersion, offset: Bytes, target: Uint8Array) => Promise<Bytes>;

/** Asked for in the turn in which it is journaled. */
export interface StageOptions {
  /** May be a version that an earlier move has yet to make, with the ETag of the version it is made from; so may the overlay's. */
  base: Base;
  /** Present when the file starts as an overlay of this version; absent when it starts empty. */
  overlayOf?: ObjectVersion | undefined;
  meta: ObjectMeta;
}

/** A file that takes the place of another one, which goes elsewhere at the same time. */
export interface Exchanged {
  /** Its staged file, where it has one. */
  file?: StagedFile | undefined;
  /** Else the object that it is: an overlay of it is staged. */
  version?: ObjectVersion | undefined;
  meta: ObjectMeta;
  /** Where it goes. */
  key: string;
  /** What the bucket has there. */
  base: Base;
}

export interface OpenForWrite {
  /** Cuts the file to nothing at once, like `truncate`. */
  empty?: boolean | undefined;
  /** The descriptor can only append, by O_APPEND and without reading: what is there stays as it is. */
  append?: boolean | undefined;
  /** True while the kernel has no descriptor of the local file: what is kept of it need not be copied. */
  isAlone?: (() => boolean) | undefined;
}

export type StagedState = "open" | "closed" | "sealed" | "uploading" | "published" | "failed" | "dropped";

/**
 * One local file that is on its way to a key. All opens of a path share it. Offsets and sizes are in bytes.
 *
 * While the kernel writes the file itself (passthrough), `read` and `write` are not called, and size and times are the
 * local file's.
 */
export interface StagedFile {
  readonly id: number;
  readonly key: string;
  readonly state: StagedState;
  /** Size and mtime, as a stat of the local file says now. */
  stamp(): FileStamp;
  /** A read-only descriptor of the local file, for passthrough; undefined while parts of an overlay are not local. */
  backing(): number | undefined;
  /** An open for writing: raises the generation. Waits while the staging area is full. @throws `no_space` */
  openForWrite(how?: OpenForWrite): Promise<void>;
  /** The end of an open for writing; after the last one the seal begins. */
  releaseWrite(): void;
  read(offset: Bytes, length: Bytes): Promise<Uint8Array>;
  /** @throws `no_space` before anything is lost */
  write(offset: Bytes, bytes: Uint8Array): Promise<Bytes>;
  /** What was closed and is not in the bucket yet is kept until the file is closed again: it goes there meanwhile. */
  truncate(sizeBytes: Bytes): Promise<void>;
  /** What it held when it was closed last is kept: it is being rewritten from scratch. */
  readonly keepsClosed: boolean;
  allocate(mode: number, offset: Bytes, length: Bytes): Promise<void>;
  seek(offset: Bytes, whence: "data" | "hole"): Promise<Bytes>;
  setTimes(mtimeMs: EpochMs): Promise<void>;
  /** Journals size and mtime: a close as far as a crash of the daemon is concerned. */
  flush(): Promise<void>;
  /**
   * Says that the writer was killed while it was rewriting the base, or what was closed here, from scratch: unless
   * somebody opens it for writing first, the file goes to `recovered/` when it is sealed, and the other stays. Journaled
   * like a FLUSH.
   */
  tear(): Promise<void>;
  /**
   * Keeps the local file this one's, counted: while it is held, published or dropped, everything goes on working on
   * the same local file, and a published one that is opened for writing again is pending again, with what was published
   * as its base. After the last `unhold` a published file's bytes are the cache's, and a dropped one's are gone.
   */
  hold(): void;
  unhold(): void;
  /** Changes what goes with the bytes; folds into an upload that has not begun, else becomes a copy on the server. */
  setMeta(meta: ObjectMeta): Promise<void>;
  /**
   * Resolves when what was written so far is in the bucket, or on the local disk when the volume says `fsync: local`.
   *
   * @throws the upload's last error when it failed for good
   */
  fsync(): Promise<void>;
}

/** Told to the filesystem as things come to pass. */
export interface WriteBackEvents {
  /**
   * The staged file is this version in the bucket now; its bytes are the cache's, once nobody holds it. The version's
   * mtime is the one in its metadata. When the file was opened for writing meanwhile, its base is this version.
   */
  published(file: StagedFile, version: ObjectVersion): void;
  /** A move, a replaceMeta or a setMeta has made this version by a copy of `from`: its bytes are the same. */
  copied(from: Pick<ObjectVersion, "key" | "etag">, version: ObjectVersion): void;
  /** Ours is in `recovered/`: somebody else has changed the object, or the file was torn. */
  conflict(file: StagedFile, recoveredAs: string, left: LeftUnderName): void;
  failed(file: StagedFile, error: HawserError): void;
  /**
   * Deletes, moves and marks have been done in the bucket: listings begun from now on show it. Of a move both keys are
   * told, after `copied`.
   */
  settled(keys: readonly string[]): void;
}

/**
 * What has the name of a file that went to `recovered/`: what it held when it was closed last, the object that the bucket
 * has, or nothing, where what the bucket still has was removed here before the file took its place.
 */
export type LeftUnderName = RestoredFile | "object" | "nothing";

/** A file that is shown without having been asked for. */
export interface RestoredFile {
  readonly file: StagedFile;
  readonly meta: ObjectMeta;
  readonly base: Base;
}

/** A work item that replay found, for the filesystem to show what it will come to. */
export type RestoredItem =
  | { readonly kind: "remove"; readonly key: string }
  | {
      readonly kind: "move";
      readonly version: ObjectVersion;
      readonly toKey: string;
      /** The copy has been made: the object is under its new key, and may be gone from the old one. */
      readonly copied?: { readonly etag: string } | undefined;
    }
  | { readonly kind: "mark"; readonly key: string; readonly meta: ObjectMeta }
  /** A folder that was removed, or moved, with all that was in it; told after what is to be done below it. */
  | { readonly kind: "gone"; readonly key: string };

export interface PendingFile {
  key: string;
  state: StagedState;
  sizeBytes: Bytes;
  sentBytes: Bytes;
  ageMs: Milliseconds;
  bytesPerSecond: number;
  lastError?: { code: string; message: string } | undefined;
}

export interface WriteBackStatus {
  files: PendingFile[];
  pendingBytes: Bytes;
  stagingBytes: Bytes;
  /** Deletes, moves and markers still to be done. */
  items: number;
  /** Files in `recovered/`. */
  recovered: number;
  /** Since when everything closed has also been on the disk itself. */
  syncedAtMs: EpochMs;
}

/** A staged file's new place. */
export interface Rekeyed {
  readonly file: StagedFile;
  readonly key: string;
  readonly base: Base;
}

export interface WriteBack extends AsyncDisposable {
  /**
   * What replay found pending and still is, for the filesystem to show: to be called once, before anything else, in the
   * turn of `onEvents`, since what is done before that nobody hears of.
   */
  restored(): Iterable<RestoredFile>;
  /** What replay found to be done and is not, in order; to be called in the same turn. */
  restoredItems(): Iterable<RestoredItem>;
  onEvents(events: WriteBackEvents): void;

  /** A file for a key that has none. */
  stage(key: string, options: StageOptions): Promise<StagedFile>;
  /** The staged file of a key, if there is one. */
  find(key: string): StagedFile | undefined;
  /** Gives up a staged file (its name was removed). Open handles keep its bytes until they are released. */
  drop(file: StagedFile): Promise<void>;
  /**
   * Gives staged files other keys, all or none (of 5,000 each); `base` is a new key's present object, and a staged file there was dropped
   * before, or leaves it now. Sends nothing that has been sent before. What the bucket has under the old key stays and is removed by `remove`,
   * which waits for a staged file that still needs its bytes.
   */
  rekey(renames: readonly Rekeyed[]): Promise<void>;
  /**
   * Files take each other's places, all or none; nothing is seen in the bucket but their names. What is there is copied
   * on the server where that is possible; of objects that wait for each other the smallest is fetched first.
   *
   * @param together called in the turn in which it is journaled
   * @returns the staged file of each
   */
  exchange(files: readonly Exchanged[], together?: () => void): Promise<StagedFile[]>;
  /**
   * Deletes an object that is in the bucket, if it is still this version; whatever is there without an ETag.
   *
   * @param after journaled at once, done no earlier: somebody still reads the object
   */
  remove(version: { key: string; etag?: string | undefined }, after?: Promise<void>): Promise<void>;
  /**
   * Copies an object that is in the bucket to another key, over what is there, then deletes the first. The version may
   * be one that an earlier move or replaceMeta has yet to make, with the ETag of the version it is made from.
   */
  move(version: ObjectVersion, toKey: string): Promise<void>;
  /** Replaces what goes with an object that is in the bucket, without its bytes. */
  replaceMeta(version: ObjectVersion, meta: ObjectMeta): Promise<void>;
  /** Puts an empty object, over what is there: a folder marker (`key` ends in `/`). */
  mark(key: string, meta: ObjectMeta): Promise<void>;

  /**
   * Journals that a marker will be put, by whoever takes the journal up if this process ends before.
   *
   * @returns takes it back
   */
  owe(key: string, meta: ObjectMeta): Promise<() => void>;

  /**
   * Journals which folders are there no more and which are there again, for whoever takes the journal up while the
   * bucket still shows what is to be moved or deleted below them.
   */
  foldersChanged(folders: { gone?: readonly string[]; back?: readonly string[] }): Promise<void>;

  /**
   * Barrier: resolves when everything written or renamed so far below the prefix is in the bucket.
   *
   * @throws the first failure that stays
   */
  flush(prefix?: string, signal?: AbortSignal): Promise<void>;
  /** Resolves when what is to be done in the bucket under exactly this key is done. @throws its failure that stays */
  settled(key: string): Promise<void>;
  /**
   * Says which files below the prefix lost a conflict. `standing`: those that are in `recovered/`, each time, until they
   * are restored or dropped. `once`: those that lost it since the start, each of them once.
   *
   * @param prefix with `exact` the key itself
   * @throws `object_changed`, with the names in `recovered/`
   */
  tellConflicts(prefix: string, how: "standing" | "once" | "exact"): Promise<void>;
  /** Resolves when no upload is left open that nobody will complete, as far as the store lets us, within a minute. */
  tidy(signal?: AbortSignal): Promise<void>;
  /** Something is to be done in the bucket under this key: what is listed there may change. */
  isBusy(key: string): boolean;
  status(): WriteBackStatus;
  /** Ranges that are the base's, of an overlay; for tests and status. */
  unchangedRanges(file: StagedFile): ByteRange[];
  /** Ends uploads and writes the journal; what is pending waits for the next mount. May be called twice. */
  close(): Promise<void>;
}
