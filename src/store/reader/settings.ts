/** What an engine is made of and told: settings that cross threads, and who hears of its work. */
import type { Clock } from "../../common/clock.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Resolve } from "../lean/dial.ts";
import type { LimitBounds } from "./limit.ts";
import type { WireError } from "../lean/wire-error.ts";
import type { StatsBlock } from "./stats-block.ts";
import type { ReaderTarget } from "./target.ts";

/** How long things may take. */
export interface EngineTimes {
  /** From the last sign of life, retries included. */
  deadlineMs: Milliseconds;
  connectMs: Milliseconds;
  firstByteMs: Milliseconds;
  /** Between two pieces of a body. */
  stallMs: Milliseconds;
  /** S3 closes idle connections after about 20 s; ours go first. */
  idleMs: Milliseconds;
}

/** In a form that crosses threads. */
export interface EngineConfig {
  target: ReaderTarget;
  /** Requests go unsigned. Otherwise the engine asks for credentials when it needs them. */
  anonymous: boolean;
  ca: string | undefined;
  limit: LimitBounds;
  /** An eighth of the connections is left free for demand reads. */
  reserves: boolean;
  times: EngineTimes;
  hedge: boolean;
  verifyMd5: boolean;
}

/** What the engine tells; the other side of `FromWorker`. */
export interface EngineHost {
  done(id: number, bodyOffset: number, elapsedMs: Milliseconds, mtime: string | undefined): void;
  failed(id: number, error: WireError): void;
  /** This version does not do, 0 being none at all. Answered by `useCredentials` or `noCredentials`. */
  refresh(version: number): void;
}

export interface EngineParts {
  slab: SharedArrayBuffer;
  stats: StatsBlock;
  clock: Clock;
  random: () => number;
  resolve: Resolve;
}
