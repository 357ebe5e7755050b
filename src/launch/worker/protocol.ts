/**
 * What a launcher asks of a worker: JSON lines over one SSH channel, in the form of the control protocol of mounts.
 *
 * A request is `{id, method, params}`, its answers carry the same id. Credentials travel in here and nowhere else.
 */
import type { Bytes, EpochMs, Milliseconds } from "../../common/units.ts";
import type { MountStatus } from "../../daemon/control-protocol.ts";
import type { HandedCredentials } from "../../daemon/supervisor.ts";
import type { WorkerSpec } from "./spec.ts";

export interface JobStart {
  /** `job`, `setup`, …: one of a name at a time. */
  name: string;
  argv: string[];
  env: Record<string, string>;
  /** The launcher's name for this run: starting the same one again does nothing. */
  run: string;
}

export interface JobState {
  name: string;
  run: string;
  startedMs: EpochMs;
  endedMs?: EpochMs | undefined;
  /** Once it has ended; 128 and more for a signal. */
  code?: number | undefined;
  /** Why the worker stopped it without being asked. */
  stoppedBecause?: string | undefined;
  /** With that: the machine is taken away; else the whole pool is at its end. */
  losesMachine?: boolean | undefined;
  /** It was stopped because the pool's time to live was over. */
  expired?: boolean | undefined;
  logBytes: Bytes;
}

/** A piece of a job's output. */
export interface LogPiece {
  offset: Bytes;
  /** Base64: a piece may end in the middle of a character. */
  data: string;
}

export interface Proof {
  volume: string;
  mount: string;
  ms: Milliseconds;
  wrote: boolean;
  error?: string | undefined;
}

/** What became of one input or output. */
export interface TransferResult {
  direction: "input" | "output";
  from: string;
  to: string;
  /** Copied. */
  files: number;
  /** There already. */
  unchanged: number;
  bytes: Bytes;
  ms: Milliseconds;
  failed: number;
  /** The output does not exist. */
  missing?: boolean | undefined;
  error?: string | undefined;
  /** This node's disk had no room for an input. */
  diskFull?: boolean | undefined;
}

/** A volume, or an output, whose data could not be brought to the bucket. */
export interface Unflushed {
  volume: string;
  mount: string;
  reason: string;
  pendingFiles: number;
}

export interface DrainProgress {
  volume: string;
  pendingFiles: number;
  pendingBytes: Bytes;
}

/** Of the whole machine. */
export interface Usage {
  cpuPercent: number;
  cpus: number;
  memoryUsedBytes: Bytes;
  memoryBytes: Bytes;
  diskUsedBytes: Bytes;
  diskBytes: Bytes;
  /** Since the machine began. */
  receivedBytes: Bytes;
  sentBytes: Bytes;
  gpus: { name: string; percent: number; memoryUsedBytes: Bytes; memoryBytes: Bytes }[];
}

/** What a node was used for since the pool is on it. */
export interface UsageSummary {
  /** How long was looked. */
  ms: Milliseconds;
  cpus: number;
  cpuPercent: number;
  cpuPeakPercent: number;
  memoryPeakBytes: Bytes;
  memoryBytes: Bytes;
  diskPeakBytes: Bytes;
  diskBytes: Bytes;
  receivedBytes: Bytes;
  sentBytes: Bytes;
  gpus: {
    name: string;
    percent: number;
    peakPercent: number;
    memoryPeakBytes: Bytes;
    memoryBytes: Bytes;
  }[];
}

export interface WorkerStatus {
  spec: WorkerSpec | undefined;
  version: string;
  /** Folder of the running program: another one's name means another bundle. */
  program: string;
  jobs: JobState[];
  mounts: { volume: string; mount: string; state: string; status?: MountStatus | undefined }[];
  /** Data that an end by itself (TTL, idle) left on the machine. */
  kept: Unflushed[];
  usage: Usage;
  /** Since the pool is on the node. */
  history: UsageSummary | undefined;
}

/** A file of the work folder, as far as it decides whether it is sent. */
export interface ManifestFile {
  path: string;
  mode: number;
  sizeBytes: Bytes;
  /** SHA-256 of the content, or of a link's target. */
  checksum: string;
}

export interface WorkerMethods {
  status: { params: Record<string, never>; result: WorkerStatus };
  /** Makes the node one of this pool. Refused where the pool is another owner's. */
  adopt: { params: { spec: WorkerSpec }; result: { work: string } };
  credentials: { params: { volume: string; credentials: HandedCredentials }; result: Record<string, never> };
  /** Mounts what is not mounted. */
  mount: { params: Record<string, never>; result: { mounted: string[]; notes: string[] } };
  /** Reads, and writes where writable, as the job's user. */
  prove: { params: Record<string, never>; result: { proofs: Proof[] } };
  /** Which of these differ from what is there; removes what was sent before and is not in the list. */
  compare: {
    params: { root: string; files: ManifestFile[] };
    result: { missing: string[]; removed: number };
  };
  /** Unpacks an archive that was uploaded, as the job's user, and takes down what it brought. */
  unpack: { params: { root: string; archive: string; files: ManifestFile[] }; result: Record<string, never> };
  /** Copies inputs or outputs; failures are in the results. */
  transfer: { params: { direction: "input" | "output" }; result: { results: TransferResult[] } };
  start: { params: JobStart; result: JobState };
  /** Pieces are events, from `offset` on; answers when the job has ended. */
  follow: { params: { name: string; run?: string | undefined; offset: Bytes }; result: JobState };
  stop: {
    params: { name: string; graceMs?: Milliseconds | undefined };
    result: JobState | Record<string, never>;
  };
  /** What setup was last done with. */
  marker: { params: { name: string; set?: string | undefined }; result: { value: string | null } };
  extend: { params: { expiresMs: EpochMs | null }; result: Record<string, never> };
  /** Ends jobs, brings outputs and everything written to the bucket (DrainProgress are events) and unmounts what is clean. */
  drain: { params: Record<string, never>; result: { unflushed: Unflushed[] } };
  /**
   * Leaves the node as it was, but for the bundle, caches and what is in `keep`. Refused while data is unflushed,
   * unless `force`.
   */
  release: { params: { force?: boolean | undefined }; result: Record<string, never> };
  /** Ends the worker's process; jobs and mounts go on. */
  quit: { params: Record<string, never>; result: Record<string, never> };
}

export type WorkerMethod = keyof WorkerMethods;

export type WorkerHandlers = {
  [M in WorkerMethod]: (
    params: WorkerMethods[M]["params"],
    emit: (event: unknown) => void,
  ) => Promise<WorkerMethods[M]["result"]> | WorkerMethods[M]["result"];
};
