/**
 * Events: what a command on a pool tells while it works.
 *
 * The launcher never prints. The program shows these as lines or as JSON, a program that uses the library gets them by
 * a function.
 */
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { PoolReport } from "./report.ts";

/** The parts of a launch, in their order. `timeouts` of hawser.yaml are about some of them. */
export const STEPS = [
  "plan",
  "provision",
  "ssh",
  "bootstrap",
  "mount",
  "files",
  "inputs",
  "setup",
  "gpu",
  "job",
  "outputs",
  "drain",
  "unmount",
  "teardown",
] as const;
export type StepName = (typeof STEPS)[number];

export type PoolEvent =
  /** A step begins, on one node or, without `node`, on all. */
  | { type: "begin"; step: StepName; node?: number | undefined; timeoutMs?: Milliseconds | undefined }
  | {
      type: "end";
      step: StepName;
      node?: number | undefined;
      ms: Milliseconds;
      /** What was found or done, in a few words. */
      detail?: string | undefined;
      error?: { code: string; message: string } | undefined;
    }
  /** Still waiting; told every few seconds. */
  | {
      type: "waiting";
      step: StepName;
      node?: number | undefined;
      elapsedMs: Milliseconds;
      timeoutMs?: Milliseconds | undefined;
    }
  /** Something the user should know, that stops nothing. */
  | { type: "note"; text: string; node?: number | undefined }
  /** The job has begun on every node. */
  | { type: "started"; job: string }
  /** What the pool has used and cost, once its nodes have nothing more to do. */
  | { type: "report"; report: PoolReport }
  /** A line of the job's output. */
  | { type: "log"; rank: number; line: string };

export type PoolEvents = (event: PoolEvent) => void;

/** How long a step took. */
export interface Timing {
  step: StepName;
  node?: number | undefined;
  startedMs: EpochMs;
  ms: Milliseconds;
}
