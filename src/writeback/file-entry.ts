/**
 * FileEntry: what the journal knows of one staged file. Only `apply` changes it, when a record is written and when it is
 * replayed, so that what is in memory is what a replay would give.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { IntervalSet } from "./interval-set.ts";
import { metaWithTime, sameTime, timeOf } from "./object-meta.ts";
import type { ClosedStamp, ContentSums, FileRecord, FileStamp, JournaledPart, RangePair } from "./records.ts";
import type { RecoverReason } from "./recovered.ts";
import type { ByteRange } from "./part-plan.ts";
import type { Base } from "./verdict.ts";
import type { ObjectMeta } from "./write-back.ts";

export interface EntryMultipart {
  readonly n: number;
  readonly key: string;
  readonly mp: string;
  readonly partBytes: Bytes;
  readonly base: Base;
  readonly mtime: EpochMs;
  readonly meta: ObjectMeta;
  readonly parts: Map<number, JournaledPart>;
}

/** Where a content of the file is in the bucket. */
export interface InBucket {
  readonly n: number;
  readonly key: string;
  readonly etag: string;
  readonly versionId?: string | undefined;
  readonly size: Bytes;
  readonly mtime: EpochMs;
  readonly meta: ObjectMeta;
  readonly sums?: ContentSums | undefined;
}

export class FileEntry {
  readonly id: number;
  readonly uuid: string;
  readonly createdMs: EpochMs;
  /** The version whose bytes show through where nothing was written: once published, what was published. */
  overlay: ObjectVersion | undefined;
  key: string;
  base: Base;
  /**
   * The object that the base is, where the filesystem does not know of it: an upload of ours that came too late, one that
   * was to be deleted, or whatever is there.
   */
  hidden: { readonly key: string; readonly etag: string | undefined } | undefined;
  meta: ObjectMeta;
  /** What it began with: of an overlay, what the base version has. */
  readonly stagedMeta: ObjectMeta;
  /** The time of the last change was set on purpose: it must reach the bucket. */
  timesSet: EpochMs | undefined;
  /** Of the overlay, what is not on the local disk. */
  readonly missing = new IntervalSet();
  /** Fetched since the bytes were synced last: gone after a power loss, for all anybody knows. */
  readonly fetchedUnsynced = new IntervalSet();
  /** Written over the base since the bytes were synced last: after a power loss the base's, for all anybody knows. */
  readonly writtenUnsynced = new IntervalSet();
  /** Of the overlay, what nobody has written. */
  readonly unchanged = new IntervalSet();
  /** The stamp of the last FLUSH, until the file is opened for writing again or changed. */
  flushed: FileStamp | undefined;
  torn = false;
  sealed: (FileStamp & { readonly n: number; readonly seq: number }) | undefined;
  /** Contents so far that were sealed or sent. */
  n = 0;
  /** What is on the disk itself; `fsync` when the program asked for it. */
  synced: (FileStamp & { readonly fsync?: boolean | undefined }) | undefined;
  multipart: EntryMultipart | undefined;
  uploaded: InBucket | undefined;
  recovering: { readonly name: string; readonly reason: RecoverReason } | undefined;
  /** The file that holds what this one held when it was closed; it may be gone. */
  kept: number | undefined;
  /** That one is kept while this one is changed in its place. */
  keptInPlace = false;
  /** What it was when it was closed, while it can only have been appended to since. */
  appendedTo: ClosedStamp | undefined;

  constructor(record: Extract<FileRecord, { t: "stage" }>) {
    this.id = record.id;
    this.uuid = record.uuid;
    this.key = record.key;
    this.base = record.base;
    this.overlay = record.overlay;
    this.meta = record.meta;
    this.stagedMeta = record.meta;
    this.createdMs = record.at;
    if (record.overlay) {
      this.missing.add(0, record.overlay.sizeBytes);
      this.unchanged.add(0, record.overlay.sizeBytes);
    }
  }

  uploadId(n: number): string {
    return `${this.uuid}-${n}`;
  }

  /** The number of the content that an upload id stands for; undefined when it is another file's. */
  contentOf(uploadId: string | undefined): number | undefined {
    return contentOf(this.uuid, uploadId);
  }

  apply(record: FileRecord): void {
    switch (record.t) {
      case "local":
        for (const [start, end] of record.ranges) {
          for (const absent of [this.missing, this.fetchedUnsynced])
            for (const gap of absent.within(start, end)) this.writtenUnsynced.add(gap.start, gap.end);
          this.missing.remove(start, end);
          this.unchanged.remove(start, end);
          this.fetchedUnsynced.remove(start, end);
        }
        return;
      case "fetched":
        for (const [start, end] of record.ranges) this.#fetched(start, end, record.synced === true);
        return;
      case "lost":
        for (const [start, end] of record.ranges) {
          this.missing.add(start, end);
          this.fetchedUnsynced.remove(start, end);
          this.writtenUnsynced.remove(start, end);
        }
        return;
      case "own":
        this.overlay = undefined;
        this.uploaded = undefined;
        this.missing.remove(0, Number.MAX_SAFE_INTEGER);
        this.unchanged.remove(0, Number.MAX_SAFE_INTEGER);
        this.fetchedUnsynced.clear();
        this.writtenUnsynced.clear();
        return;
      case "flush":
      case "tear":
        this.flushed = { size: record.size, mtime: record.mtime };
        this.torn = record.t === "tear";
        return;
      case "open":
        this.sealed = undefined;
        this.appendedTo = record.append;
        // A torn file that is as it was torn must not count as closed.
        if (this.torn) this.flushed = undefined;
        this.torn = false;
        if (!this.synced?.fsync) this.synced = undefined;
        return;
      case "kept":
        this.kept = record.as;
        this.keptInPlace = record.inPlace === true;
        if (this.keptInPlace) return;
        this.appendedTo = undefined;
        this.flushed = undefined;
        this.synced = undefined;
        return;
      case "meta":
        this.meta = record.meta;
        return;
      case "times":
        this.timesSet = record.mtime;
        return;
      case "recover":
        this.recovering = { name: record.name, reason: record.reason };
        return;
      case "base":
        this.base = record.base;
        if (record.overlay) this.overlay = record.overlay;
        if (record.hidden || this.hidden?.key === this.key) this.hidden = hiddenAt(this.key, record.base);
        return;
      case "seal": {
        const { n, seq, size, mtime } = record;
        const { synced } = this;
        // What a program had synced and changed since is not on the disk: the next tick brings it there.
        const isChanged = synced?.fsync && (synced.size !== size || !sameTime(synced.mtime, mtime));
        if (isChanged && this.sealed?.n !== n) this.synced = undefined;
        this.sealed = { n, seq, size, mtime };
        this.appendedTo = undefined;
        this.n = Math.max(this.n, n);
        return;
      }
      case "turn":
        this.n = Math.max(this.n, record.n);
        return;
      case "synced":
        this.synced = { size: record.size, mtime: record.mtime, fsync: record.fsync };
        this.fetchedUnsynced.clear();
        this.writtenUnsynced.clear();
        return;
      case "multipart": {
        const { n, key, mp, partBytes, base, mtime, meta } = record;
        this.multipart = { n, key, mp, partBytes, base, mtime, meta, parts: new Map() };
        this.n = Math.max(this.n, n);
        return;
      }
      case "part": {
        if (record.mp !== this.multipart?.mp) return;
        const { partNumber, etag, sizeBytes, crc32c, sum } = record;
        this.multipart.parts.set(partNumber, { partNumber, etag, sizeBytes, crc32c, sum });
        return;
      }
      case "abandon":
        if (record.mp === this.multipart?.mp) this.multipart = undefined;
        return;
      case "uploaded": {
        const { n, key, etag, versionId, size, mtime, meta, sums } = record;
        this.uploaded = { n, key, etag, versionId, size, mtime, meta, sums };
        if (key === this.key) this.base = { kind: "version", etag };
        if (key === this.hidden?.key) this.hidden = undefined;
        // What nobody has written is the same in the new version, and the old one may be gone.
        if (this.overlay) this.overlay = { key, etag, versionId, sizeBytes: size, mtimeMs: mtime };
        if (this.multipart?.key === key && this.multipart.n <= n) this.multipart = undefined;
        return;
      }
      case "stage":
      case "begin":
      case "drop":
    }
  }

  /** Records of another file that holds the same, closed; nothing of it is known to be on the disk itself. */
  *recordsAs(id: number, uuid: string, stamp: FileStamp): Generator<FileRecord> {
    yield* this.#started(id, uuid);
    if (this.overlay) yield { t: "fetched", id, ranges: outside(this.missing, this.overlay.sizeBytes) };
    yield* this.#written(id);
    if (this.hidden?.key === this.key) yield { t: "base", id, base: this.base, hidden: true };
    yield { t: "flush", id, ...stamp };
  }

  /** What it was made from, what goes with it, and which bytes are its own. */
  *#started(id: number, uuid: string): Generator<FileRecord> {
    const { key, base, overlay, stagedMeta, meta, createdMs: at } = this;
    yield { t: "stage", id, uuid, key, base, overlay, meta: stagedMeta, at };
    if (meta !== stagedMeta) yield { t: "meta", id, meta };
    if (this.timesSet !== undefined) yield { t: "times", id, mtime: this.timesSet };
    if (!overlay) return;
    const rest = new IntervalSet([...this.unchanged.ranges, ...this.writtenUnsynced.ranges]);
    yield { t: "local", id, ranges: outside(rest, overlay.sizeBytes) };
  }

  /** What was written and never synced, after all that says what is on the disk. */
  *#written(id: number): Generator<FileRecord> {
    if (!this.writtenUnsynced.isEmpty) yield { t: "local", id, ranges: pairsOf(this.writtenUnsynced.ranges) };
  }

  #fetchedSynced(sizeBytes: Bytes): RangePair[] {
    const { missing, fetchedUnsynced, writtenUnsynced } = this;
    const absent = new IntervalSet(
      [missing, fetchedUnsynced, writtenUnsynced].flatMap((set) => [...set.ranges]),
    );
    return outside(absent, sizeBytes);
  }

  #fetched(start: Bytes, end: Bytes, isSynced: boolean): void {
    for (const gap of this.missing.within(start, end)) {
      if (!isSynced) this.fetchedUnsynced.add(gap.start, gap.end);
    }
    this.missing.remove(start, end);
  }

  /** Records that, replayed, give this entry. */
  *records(): Generator<FileRecord> {
    const { id, key, base, overlay } = this;
    yield* this.#started(id, this.uuid);
    if (overlay) yield { t: "fetched", id, ranges: this.#fetchedSynced(overlay.sizeBytes), synced: true };
    if (this.kept !== undefined)
      yield { t: "kept", id, as: this.kept, ...(this.keptInPlace ? { inPlace: true } : {}) };
    if (this.n > 0) yield { t: "turn", id, n: this.n };
    if (this.flushed) yield { t: this.torn ? "tear" : "flush", id, ...this.flushed };
    if (this.appendedTo) yield { t: "open", id, append: this.appendedTo };
    if (this.uploaded) yield { t: "uploaded", id, ...this.uploaded };
    yield { t: "base", id, base, ...(this.hidden?.key === key ? { hidden: true } : {}) };
    if (this.multipart) {
      const { parts, ...multipart } = this.multipart;
      yield { t: "multipart", id, ...multipart };
      for (const part of parts.values()) yield { t: "part", id, mp: multipart.mp, ...part };
    }
    if (this.sealed) yield { t: "seal", id, ...this.sealed };
    if (this.synced) yield { t: "synced", id, ...this.synced };
    if (!this.fetchedUnsynced.isEmpty)
      yield { t: "fetched", id, ranges: pairsOf(this.fetchedUnsynced.ranges) };
    yield* this.#written(id);
    if (this.recovering) yield { t: "recover", id, ...this.recovering };
  }
}

function pairsOf(ranges: readonly ByteRange[]): RangePair[] {
  return ranges.map(({ start, end }) => [start, end]);
}

function hiddenAt(key: string, base: Base): FileEntry["hidden"] {
  if (base.kind === "absent") return undefined;
  return { key, etag: base.kind === "version" ? base.etag : undefined };
}

/** @param uuid of a file */
export function contentOf(uuid: string, uploadId: string | undefined): number | undefined {
  return uploadId?.startsWith(`${uuid}-`) ? Number(uploadId.slice(uuid.length + 1)) : undefined;
}

/** The complement of a set within `[0, sizeBytes)`. */
function outside(set: IntervalSet, sizeBytes: Bytes): RangePair[] {
  const gaps = new IntervalSet([{ start: 0, end: sizeBytes }]);
  for (const { start, end } of set.ranges) gaps.remove(start, end);
  return pairsOf(gaps.ranges);
}

/** As the cache and the filesystem know it. */
export function versionOf(there: InBucket): ObjectVersion {
  const { key, etag, versionId, size, mtime, meta } = there;
  const mtimeMs = timeOf(metaWithTime(meta, mtime)) ?? mtime;
  return { key, etag, versionId, sizeBytes: size, mtimeMs };
}
