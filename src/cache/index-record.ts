/**
 * Records of the cache's index: pure encoding and decoding. All numbers are little-endian.
 *
 * | kind | content |
 * |---|---|
 * | entry | fingerprint, file id, size, mtime, ETag, key, runs of blocks: replaces an entry of this fingerprint |
 * | blocks | file id, runs of blocks |
 * | dropped | file id, first block, count: these blocks are no longer here |
 * | removed | file id |
 * | exposed | file id: the kernel has had it as a backing file |
 * | session | boot id: what follows was written under this boot |
 * | mark, clean | a number: what stood before `mark` n is on the disk once `clean` n stands |
 * | order | file ids from cold to hot |
 *
 * A run is its first block, its count and the CRC32C of each block.
 */
import type { Bytes, EpochMs } from "../common/units.ts";

export const INDEX_FORMAT = { kind: "CIDX", version: 1 } as const;

export interface EntryIdentity {
  fingerprint: string;
  fileId: number;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  etag: string;
  key: string;
}

export interface BlockRun {
  first: number;
  crcs: Uint32Array;
}

export type IndexRecord =
  | { kind: "entry"; identity: EntryIdentity; runs: readonly BlockRun[] }
  | { kind: "blocks"; fileId: number; runs: readonly BlockRun[] }
  | { kind: "dropped"; fileId: number; first: number; count: number }
  | { kind: "removed" | "exposed"; fileId: number }
  | { kind: "session"; bootId: string }
  | { kind: "mark" | "clean"; number: number }
  | { kind: "order"; fileIds: Uint32Array };

const KINDS = [
  "entry",
  "blocks",
  "dropped",
  "removed",
  "exposed",
  "session",
  "mark",
  "clean",
  "order",
] as const;
const FINGERPRINT_BYTES = 16;
const ENTRY_HEAD_BYTES = 1 + FINGERPRINT_BYTES + 4 + 8 + 8 + 2 + 2;

export function encodeRecord(record: IndexRecord): Buffer {
  const kind = KINDS.indexOf(record.kind);
  switch (record.kind) {
    case "entry": {
      const { identity, runs } = record;
      const etag = Buffer.from(identity.etag);
      const key = Buffer.from(identity.key);
      const head = Buffer.allocUnsafe(ENTRY_HEAD_BYTES + etag.length + key.length + runsBytes(runs));
      head[0] = kind;
      head.write(identity.fingerprint, 1, "latin1");
      let at = head.writeUInt32LE(identity.fileId, 1 + FINGERPRINT_BYTES);
      at = head.writeDoubleLE(identity.sizeBytes, at);
      at = head.writeDoubleLE(identity.mtimeMs, at);
      at = head.writeUInt16LE(etag.length, at);
      at = head.writeUInt16LE(key.length, at);
      at += etag.copy(head, at);
      at += key.copy(head, at);
      writeRuns(head, at, runs);
      return head;
    }
    case "blocks": {
      const bytes = Buffer.allocUnsafe(5 + runsBytes(record.runs));
      bytes[0] = kind;
      writeRuns(bytes, bytes.writeUInt32LE(record.fileId, 1), record.runs);
      return bytes;
    }
    case "dropped":
      return numbers(kind, [record.fileId, record.first, record.count]);
    case "removed":
    case "exposed":
      return numbers(kind, [record.fileId]);
    case "mark":
    case "clean":
      return numbers(kind, [record.number]);
    case "session":
      return Buffer.concat([Buffer.of(kind), Buffer.from(record.bootId)]);
    case "order":
      return numbers(kind, record.fileIds);
  }
}

/** @returns undefined for a record this version does not know, or one that contradicts itself */
export function decodeRecord(bytes: Buffer): IndexRecord | undefined {
  const kind = KINDS[bytes[0]!];
  switch (kind) {
    case "entry": {
      const identity = decodeIdentity(bytes);
      return (
        identity && withRuns(bytes, identity.end, (runs) => ({ kind, identity: identity.identity, runs }))
      );
    }
    case "blocks":
      if (bytes.length < 5) return undefined;
      return withRuns(bytes, 5, (runs) => ({ kind, fileId: bytes.readUInt32LE(1), runs }));
    case "dropped":
      if (bytes.length !== 13) return undefined;
      return {
        kind,
        fileId: bytes.readUInt32LE(1),
        first: bytes.readUInt32LE(5),
        count: bytes.readUInt32LE(9),
      };
    case "removed":
    case "exposed":
      return bytes.length === 5 ? { kind, fileId: bytes.readUInt32LE(1) } : undefined;
    case "mark":
    case "clean":
      return bytes.length === 5 ? { kind, number: bytes.readUInt32LE(1) } : undefined;
    case "session":
      return { kind, bootId: bytes.toString("utf8", 1) };
    case "order": {
      const fileIds = new Uint32Array((bytes.length - 1) >>> 2);
      for (let i = 0; i < fileIds.length; i++) fileIds[i] = bytes.readUInt32LE(1 + 4 * i);
      return { kind, fileIds };
    }
    default:
      return undefined;
  }
}

function decodeIdentity(bytes: Buffer): { identity: EntryIdentity; end: number } | undefined {
  if (bytes.length < ENTRY_HEAD_BYTES) return undefined;
  const etagLength = bytes.readUInt16LE(ENTRY_HEAD_BYTES - 4);
  const keyLength = bytes.readUInt16LE(ENTRY_HEAD_BYTES - 2);
  const etagEnd = ENTRY_HEAD_BYTES + etagLength;
  const end = etagEnd + keyLength;
  if (end > bytes.length) return undefined;
  const identity = {
    fingerprint: bytes.toString("latin1", 1, 1 + FINGERPRINT_BYTES),
    fileId: bytes.readUInt32LE(17),
    sizeBytes: bytes.readDoubleLE(21),
    mtimeMs: bytes.readDoubleLE(29),
    etag: bytes.toString("utf8", ENTRY_HEAD_BYTES, etagEnd),
    key: bytes.toString("utf8", etagEnd, end),
  };
  return { identity, end };
}

function numbers(kind: number, values: ArrayLike<number>): Buffer {
  const bytes = Buffer.allocUnsafe(1 + 4 * values.length);
  bytes[0] = kind;
  for (let i = 0; i < values.length; i++) bytes.writeUInt32LE(values[i]!, 1 + 4 * i);
  return bytes;
}

function runsBytes(runs: readonly BlockRun[]): Bytes {
  return runs.reduce((sum, run) => sum + 8 + 4 * run.crcs.length, 0);
}

function writeRuns(target: Buffer, from: number, runs: readonly BlockRun[]): void {
  let at = from;
  for (const { first, crcs } of runs) {
    at = target.writeUInt32LE(first, at);
    at = target.writeUInt32LE(crcs.length, at);
    for (const crc of crcs) at = target.writeUInt32LE(crc, at);
  }
}

function withRuns(
  bytes: Buffer,
  from: number,
  make: (runs: BlockRun[]) => IndexRecord,
): IndexRecord | undefined {
  const runs: BlockRun[] = [];
  let at = from;
  while (at + 8 <= bytes.length) {
    const first = bytes.readUInt32LE(at);
    const count = bytes.readUInt32LE(at + 4);
    at += 8;
    if (at + 4 * count > bytes.length) return undefined;
    const crcs = new Uint32Array(count);
    for (let i = 0; i < count; i++) crcs[i] = bytes.readUInt32LE(at + 4 * i);
    at += 4 * count;
    runs.push({ first, crcs });
  }
  return at === bytes.length ? make(runs) : undefined;
}
