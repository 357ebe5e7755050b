/**
 * Storage presets: what is known about the stores that people use, so that a volume needs only a name.
 *
 * A preset fills in endpoint, addressing, region and capabilities. Each can be overridden, and capabilities are
 * corrected by a probe or by the first answer that says otherwise: see capabilities.ts.
 */
import { HawserError } from "../common/errors.ts";
import { GiB, TiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { StoreCapabilities } from "./object-store.ts";

export const STORAGE_PRESETS = ["s3", "r2", "gcs", "wasabi", "b2", "minio"] as const;
export type StoragePreset = (typeof STORAGE_PRESETS)[number];

/** Where the bucket's name goes: into the host or into the path. */
export type Addressing = "virtual" | "path";

export interface Preset {
  readonly title: string;
  /** The endpoint of a region; undefined where only the user can know it. */
  endpoint(region: string, accountId: string | undefined): string | undefined;
  /** What to say when there is no endpoint. */
  readonly endpointHint?: string;
  readonly addressing: Addressing;
  readonly defaultRegion: string;
  readonly capabilities: Readonly<StoreCapabilities>;
  /** The largest object, as the store documents it: more is refused before anything is sent. */
  readonly maxObjectBytes: Bytes;
}

/** 10,000 parts of 5 GiB. */
const MOST_PARTS: Bytes = 50_000 * GiB;

const EVERYTHING: StoreCapabilities = {
  conditionalPut: true,
  batchDelete: true,
  checksums: true,
  partCopy: true,
};

/** `amazonaws.com`, or the domain of a partition that has its own. */
function awsDomain(region: string): string {
  if (region.startsWith("cn-")) return "amazonaws.com.cn";
  if (region.startsWith("eusc-")) return "amazonaws.eu";
  return "amazonaws.com";
}

export const PRESETS: Readonly<Record<StoragePreset, Preset>> = {
  s3: {
    title: "Amazon S3",
    endpoint: (region) => `https://s3.${region}.${awsDomain(region)}`,
    addressing: "virtual",
    defaultRegion: "us-east-1",
    capabilities: EVERYTHING,
    maxObjectBytes: MOST_PARTS,
  },
  r2: {
    title: "Cloudflare R2",
    endpoint: (_region, accountId) =>
      accountId === undefined ? undefined : `https://${accountId}.r2.cloudflarestorage.com`,
    endpointHint:
      "give the account id (accountId, or CLOUDFLARE_ACCOUNT_ID) or --endpoint https://ACCOUNT.r2.cloudflarestorage.com",
    addressing: "path",
    defaultRegion: "auto",
    // Parts take no flexible checksums there; single objects are covered by their MD5 ETag.
    capabilities: { ...EVERYTHING, checksums: false },
    // 4.995 TiB: its parts end 5 MiB short of 5 GiB.
    maxObjectBytes: 5 * TiB - 5 * GiB,
  },
  gcs: {
    title: "Google Cloud Storage (HMAC keys)",
    endpoint: () => "https://storage.googleapis.com",
    addressing: "path",
    defaultRegion: "auto",
    // Its XML API has preconditions by generation instead of ETag, and neither DeleteObjects nor UploadPartCopy.
    capabilities: { conditionalPut: false, batchDelete: false, checksums: false, partCopy: false },
    maxObjectBytes: 5 * TiB,
  },
  wasabi: {
    title: "Wasabi",
    endpoint: (region) =>
      region === "us-east-1" ? "https://s3.wasabisys.com" : `https://s3.${region}.wasabisys.com`,
    addressing: "path",
    defaultRegion: "us-east-1",
    capabilities: { conditionalPut: false, batchDelete: true, checksums: false, partCopy: true },
    maxObjectBytes: 5 * TiB,
  },
  b2: {
    title: "Backblaze B2",
    endpoint: (region) => `https://s3.${region}.backblazeb2.com`,
    addressing: "path",
    defaultRegion: "us-west-004",
    capabilities: { conditionalPut: false, batchDelete: true, checksums: false, partCopy: true },
    // 10 TB.
    maxObjectBytes: 10e12,
  },
  minio: {
    title: "MinIO",
    endpoint: () => undefined,
    endpointHint: "give its URL, for example --endpoint http://minio.example:9000",
    addressing: "path",
    defaultRegion: "us-east-1",
    capabilities: EVERYTHING,
    maxObjectBytes: MOST_PARTS,
  },
};

/** @throws HawserError `invalid_argument` when there is no such preset */
export function presetNamed(name: string): Preset {
  const known = STORAGE_PRESETS.find((preset) => preset === name);
  if (known) return PRESETS[known];
  throw new HawserError(
    "invalid_argument",
    `'${name}' is no storage preset; choose one of ${STORAGE_PRESETS.join(", ")}, or give --endpoint for another store.`,
  );
}
