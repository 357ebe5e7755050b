/** The record of a pool: what a later command must know to find, use and end it. No secret is in it. */
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import type { NamedVolume } from "../config/file.ts";
import type { PoolConfig, ProviderKind } from "../config/pool.ts";
import type { TaskConfig } from "../config/task.ts";
import type { Timing } from "./events.ts";
import type { PoolNode } from "./node.ts";
import type { PoolOwner } from "./provider.ts";

/** Raised when a launcher could misread a record that another version wrote. */
export const RECORD_VERSION = 1;

/** How far a pool has come. What is written here is true from before the step begins. */
export type PoolPhase =
  /** Machines are being made or looked for. */
  | "provisioning"
  /** Machines are known; software and mounts are under way. */
  | "preparing"
  /** Every volume answered on every node. */
  | "ready"
  | "stopping"
  | "stopped"
  /** Being drained and ended. */
  | "ending"
  /** Ended but for the nodes in `kept`. */
  | "kept";

export interface PoolRecord {
  version: typeof RECORD_VERSION;
  name: string;
  provider: ProviderKind;
  phase: PoolPhase;
  owner: PoolOwner;
  createdMs: EpochMs;
  expiresMs: EpochMs | undefined;
  config: PoolConfig;
  /** Without keys: where credentials come from is said, never what they are. */
  volumes: RecordedVolume[];
  task: TaskConfig;
  /** The folder that relative paths of the configuration are below. */
  baseFolder: string;
  /** hawser.yaml, where keys of a volume can be read again. */
  configPath: string | undefined;
  nodes: PoolNode[];
  /** The job that was last started. */
  job?: { run: string; startedMs: EpochMs; restart: number } | undefined;
  /**
   * Ids of nodes that write, or are about to, or did without a drain since. Absent in older
   * records: any of them.
   */
  writers?: string[] | undefined;
  /** The command that made the pool was to end it too: without that command, nobody will. */
  endsWithRun?: boolean | undefined;
  /** Index and reason of nodes with data that is not in the bucket. */
  kept: { index: number; reason: string }[];
  /** What the provider saved for itself. */
  providerState?: unknown;
  /** How long the steps of the last launch took. */
  timings: Timing[];
}

/** Whether nodes of the pool write anything that is to reach a bucket. */
export function writesData({ volumes, task }: Pick<PoolRecord, "volumes" | "task">): boolean {
  return volumes.some(({ mode }) => mode === "writable") || task.outputs !== undefined;
}

/** A volume without its keys; `"keys"` where hawser.yaml or the program has them. */
export type RecordedVolume = Omit<NamedVolume, "credentials"> & {
  credentials?: "default" | "environment" | "anonymous" | "keys" | { profile: string } | undefined;
};

export function recordVolume({ credentials, ...volume }: NamedVolume): RecordedVolume {
  if (credentials === undefined) return volume;
  return {
    ...volume,
    credentials: typeof credentials === "object" && "accessKeyId" in credentials ? "keys" : credentials,
  };
}

/** @throws HawserError `config_invalid` when the text is not what this version writes */
export function parseRecord(text: string, path: string): PoolRecord {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    throw new HawserError(
      "config_invalid",
      `${path} is damaged; find what is left with 'hawser pool cleanup'.`,
      {
        cause: error,
      },
    );
  }
  const version =
    typeof record === "object" && record !== null && "version" in record ? record.version : undefined;
  if (version !== RECORD_VERSION) {
    throw new HawserError(
      "config_invalid",
      `${path} was written by another version of Hawser; use that version.`,
    );
  }
  return record as PoolRecord;
}
