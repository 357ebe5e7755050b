/**
 * Records of the journal: JSON objects, `t` says which; an array of them holds together. docs/JOURNAL.md is their description for people.
 *
 * A field may be added and old readers ignore it; what changes the meaning of a field raises VERSION. Replay has been
 * through CRC32C, so that what does not parse was written by another program: it is skipped and counted.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { UploadedPart } from "../store/object-store.ts";
import type { RecoverReason } from "./recovered.ts";
import type { Base } from "./verdict.ts";
import type { ObjectMeta } from "./write-back.ts";

export const JOURNAL_FORMAT = { kind: "WBAK", version: 1 } as const;

/** Start and end of a half-open range. */
export type RangePair = readonly [Bytes, Bytes];

/** Size and mtime: what shows that a file has changed since. */
export interface FileStamp {
  readonly size: Bytes;
  readonly mtime: EpochMs;
}

/** What a file was when it was closed; `synced` when it was on the disk itself. */
export interface ClosedStamp extends FileStamp {
  readonly synced?: boolean | undefined;
}

/** What of a file's content was sent, in checksums: one for each stretch of `partBytes`. CRC64NVME, hex. */
export interface ContentSums {
  readonly size: Bytes;
  readonly partBytes: Bytes;
  readonly sums: readonly string[];
}

/** A part with the checksum of the bytes it was sent from; none when only a sealed file could have been read. */
export interface JournaledPart extends UploadedPart {
  readonly sum?: string | undefined;
}

export type FileRecord =
  /** A staged file exists. `uuid` names it in upload ids. */
  | {
      readonly t: "stage";
      readonly id: number;
      readonly uuid: string;
      readonly key: string;
      readonly base: Base;
      readonly overlay?: ObjectVersion | undefined;
      readonly meta: ObjectMeta;
      readonly at: EpochMs;
    }
  /** Bytes that are not the base's any more. */
  | { readonly t: "local"; readonly id: number; readonly ranges: readonly RangePair[] }
  /** Bytes of the base that are in the local file; `synced` when they are on the disk itself. */
  | {
      readonly t: "fetched";
      readonly id: number;
      readonly ranges: readonly RangePair[];
      readonly synced?: boolean | undefined;
    }
  /** Fetched bytes that a power loss may have taken: they are to be fetched again. */
  | { readonly t: "lost"; readonly id: number; readonly ranges: readonly RangePair[] }
  /** All its bytes are its own and on the local disk: nothing of it is copied from the bucket. */
  | { readonly t: "own"; readonly id: number }
  | ({ readonly t: "flush"; readonly id: number } & FileStamp)
  | ({ readonly t: "tear"; readonly id: number } & FileStamp)
  /** Opened for writing again; `append` when what was closed can only have been appended to since: what it was. */
  | {
      readonly t: "open";
      readonly id: number;
      readonly append?: ClosedStamp | undefined;
    }
  /** What it held when it was closed is file `as` from now on: it is rewritten, from scratch unless `inPlace`. */
  | { readonly t: "kept"; readonly id: number; readonly as: number; readonly inPlace?: boolean | undefined }
  | { readonly t: "meta"; readonly id: number; readonly meta: ObjectMeta }
  /** The time of its last change is about to be set. */
  | { readonly t: "times"; readonly id: number; readonly mtime: EpochMs }
  /**
   * What is under its key; `overlay` where the version it is laid over has another name or ETag now; `hidden` when
   * nobody but us knows of the object.
   */
  | {
      readonly t: "base";
      readonly id: number;
      readonly base: Base;
      readonly overlay?: ObjectVersion | undefined;
      readonly hidden?: boolean | undefined;
    }
  /** Nobody can write it; `n` numbers the content, `seq` its place among the work items. */
  | ({ readonly t: "seal"; readonly id: number; readonly n: number; readonly seq: number } & FileStamp)
  /** Content number `n` of a file that is open is about to be sent. */
  | { readonly t: "turn"; readonly id: number; readonly n: number }
  /** All of it up to this stamp is on the disk. */
  | ({ readonly t: "synced"; readonly id: number; readonly fsync?: boolean | undefined } & FileStamp)
  /** A multipart is about to be begun. */
  | {
      readonly t: "begin";
      readonly id: number;
      readonly n: number;
      readonly key: string;
      readonly at: EpochMs;
    }
  | {
      readonly t: "multipart";
      readonly id: number;
      readonly n: number;
      readonly key: string;
      readonly mp: string;
      readonly partBytes: Bytes;
      /** What was under the key. */
      readonly base: Base;
      /** What its metadata says. */
      readonly mtime: EpochMs;
      readonly meta: ObjectMeta;
    }
  | ({ readonly t: "part"; readonly id: number; readonly mp: string } & JournaledPart)
  /** The multipart is not wanted any more and has to be aborted. */
  | { readonly t: "abandon"; readonly id: number; readonly mp: string }
  /** Content number `n` is in the bucket. */
  | {
      readonly t: "uploaded";
      readonly id: number;
      readonly n: number;
      readonly key: string;
      readonly etag: string;
      readonly versionId?: string | undefined;
      readonly size: Bytes;
      readonly mtime: EpochMs;
      readonly meta: ObjectMeta;
      readonly sums?: ContentSums | undefined;
    }
  /** It is about to be moved to `recovered/`. */
  | { readonly t: "recover"; readonly id: number; readonly name: string; readonly reason: RecoverReason }
  /** The file is forgotten: handed over, unlinked, or in `recovered/`. */
  | { readonly t: "drop"; readonly id: number };

export type Item =
  | { readonly kind: "remove"; readonly key: string; readonly etag?: string | undefined }
  | {
      readonly kind: "move";
      readonly version: ObjectVersion;
      readonly toKey: string;
      /** Of the copy, once it is there. */
      readonly copied?: { readonly etag: string; readonly versionId?: string | undefined } | undefined;
    }
  | {
      readonly kind: "meta";
      readonly version: ObjectVersion;
      readonly meta: ObjectMeta;
      readonly uuid: string;
    }
  | { readonly kind: "mark"; readonly key: string; readonly meta: ObjectMeta };

export type JournalRecord =
  | FileRecord
  | { readonly t: "boot"; readonly boot: string; readonly volume: string }
  /** The next free file id and sequence number: they are never given twice. */
  | { readonly t: "ids"; readonly id: number; readonly seq: number }
  /** Renames of staged files, all or none. */
  | { readonly t: "keys"; readonly keys: readonly (readonly [id: number, key: string, base: Base])[] }
  /** An object is being copied on the server by this multipart: whoever finds this at the start aborts it. */
  | { readonly t: "copying"; readonly mp: string; readonly key: string }
  /** A multipart that belongs to no file and has to be aborted. */
  | { readonly t: "orphan"; readonly mp: string; readonly key: string }
  /** The multipart is gone. */
  | { readonly t: "aborted"; readonly mp: string }
  /** What has come of a `begin` is known. */
  | { readonly t: "begun"; readonly id: number; readonly key: string; readonly at: EpochMs }
  /** A request may have put content `n` of `uuid` under a key where it does not belong any more. */
  | { readonly t: "stray"; readonly uuid: string; readonly n: number; readonly key: string }
  | { readonly t: "cleared"; readonly uuid: string; readonly n: number; readonly key: string }
  | { readonly t: "item"; readonly seq: number; readonly item: Item }
  /** Folders that are there no more, and folders that are there again, whatever of them the bucket still has. */
  | { readonly t: "folders"; readonly gone: readonly string[]; readonly back: readonly string[] }
  | { readonly t: "done"; readonly seq: number };

/** Several hold together or not at all. */
export function encodeRecords(records: readonly JournalRecord[]): Buffer {
  return Buffer.from(JSON.stringify(records.length === 1 ? records[0] : records));
}

/** @returns undefined for what holds no records */
export function decodeRecords(bytes: Buffer): JournalRecord[] | undefined {
  try {
    const value = JSON.parse(bytes.toString("utf8")) as unknown;
    const records: unknown[] = Array.isArray(value) ? value : [value];
    return records.every(isRecord) ? records : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is JournalRecord {
  return typeof value === "object" && value !== null && "t" in value && typeof value.t === "string";
}
