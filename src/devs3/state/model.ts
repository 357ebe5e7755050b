/** What the server keeps about an object, a part and an upload. Plain values: they are written to the journal as they are. */
import type { Bytes, EpochMs } from "../../common/units.ts";
import type { Content } from "../backing/content.ts";

export type ChecksumAlgorithm = "CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256";
/** FULL_OBJECT: of the bytes. COMPOSITE: of the parts' checksums. */
export type ChecksumType = "FULL_OBJECT" | "COMPOSITE";

export interface Checksum {
  algorithm: ChecksumAlgorithm;
  /** base64; a composite one ends in `-N`. */
  value: string;
  type: ChecksumType;
}

/** What a client says about an object when it creates it, by PUT, copy or multipart. */
export interface ObjectAttributes {
  /** Headers answered as they were given: content-type, cache-control, … (lower case). */
  headers: Record<string, string>;
  /** User metadata, names in lower case without `x-amz-meta-`. */
  metadata: Record<string, string>;
  tags: Record<string, string>;
  storageClass: string;
  /** Server-side encryption headers, echoed. */
  sse: Record<string, string>;
}

/** A finished part of a multipart object. */
export interface ObjectPart {
  sizeBytes: Bytes;
  checksum?: string | undefined;
}

export interface RestoreState {
  /** From then on the bytes can be read. */
  readyAtMs: EpochMs;
  expiresAtMs: EpochMs;
}

/** One version of an object, or a delete marker. */
export interface ObjectVersion extends ObjectAttributes {
  key: string;
  /** `null` for what was written while the bucket kept no versions. */
  versionId: string;
  isDeleteMarker: boolean;
  mtimeMs: EpochMs;
  sizeBytes: Bytes;
  /** Without quotes. */
  etag: string;
  content: Content;
  checksum?: Checksum | undefined;
  /** Present for multipart objects. */
  parts?: ObjectPart[] | undefined;
  restore?: RestoreState | undefined;
}

/** An uploaded part of an upload under way. */
export interface UploadPart {
  partNumber: number;
  etag: string;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  content: Content;
  checksum?: { algorithm: ChecksumAlgorithm; value: string } | undefined;
}

/** A multipart upload under way. */
export interface Upload extends ObjectAttributes {
  uploadId: string;
  key: string;
  initiatedMs: EpochMs;
  checksumAlgorithm?: ChecksumAlgorithm | undefined;
  checksumType?: ChecksumType | undefined;
  parts: Map<number, UploadPart>;
}

export type Versioning = "" | "Enabled" | "Suspended";
