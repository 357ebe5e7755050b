/** The options that say where a store is and how to be let in. They load nothing: commands that only copy start with them. */
import type { KeyPath } from "../config/explain.ts";
import { STORAGE_PRESETS } from "../store/presets.ts";
import type { Option } from "./command.ts";

/** An option and the key of the schema that it sets. */
export interface VolumeOption extends Option {
  key: KeyPath;
  /** What a switch sets; `true` when absent. */
  sets?: unknown;
}

const STORE = "Store";

/** For every command that talks to S3. */
export const STORE_OPTIONS = {
  profile: {
    key: ["credentials", "profile"],
    type: "string",
    value: "NAME",
    describe: "Profile of ~/.aws to take credentials from",
    group: STORE,
  },
  region: {
    key: ["region"],
    type: "string",
    value: "REGION",
    describe: "Region of the bucket",
    group: STORE,
  },
  endpoint: {
    key: ["endpoint"],
    type: "string",
    value: "URL",
    describe: "URL of a store other than AWS",
    group: STORE,
  },
  storage: {
    key: ["storage"],
    type: "string",
    choices: STORAGE_PRESETS,
    describe: "Kind of store",
    group: STORE,
  },
  "no-sign-request": {
    key: ["credentials"],
    sets: "anonymous",
    type: "boolean",
    describe: "Read a public bucket without credentials",
    group: STORE,
  },
  "requester-pays": {
    key: ["requesterPays"],
    type: "boolean",
    describe: "Accept to be charged for requests",
    group: STORE,
  },
  addressing: {
    key: ["addressing"],
    type: "string",
    choices: ["virtual", "path"],
    describe: "Bucket in the host name or in the path",
    group: STORE,
  },
  "account-id": {
    key: ["accountId"],
    type: "string",
    value: "ID",
    describe: "Account whose endpoint is used, for r2",
    group: STORE,
  },
} as const satisfies Record<string, VolumeOption>;
