/**
 * What a cleanup removes: a pure function of the checkpoints, the rules and the time.
 *
 * `keepLastN` and `olderThanMs` together say what goes: a checkpoint behind the newest N of its run that is old enough.
 * What is left then goes, oldest first over all runs, until `maxTotalBytes` is met. The newest `minKeep` of each run
 * stay, whatever the rules say.
 */
import type { Bytes, EpochMs, Milliseconds } from "../../common/units.ts";
import { newerFirst } from "./group.ts";
import type { Checkpoint } from "./group.ts";

export interface CleanupRules {
  /** Of each run; all when absent. */
  keepLastN?: number | undefined;
  /** Only what is older goes. */
  olderThanMs?: Milliseconds | undefined;
  /** Of all checkpoints together. */
  maxTotalBytes?: Bytes | undefined;
  /** Of each run; 1 when absent. */
  minKeep?: number | undefined;
}

export type Verdict = "keep" | "beyond-last-n" | "too-old" | "over-size";

export interface Judged {
  checkpoint: Checkpoint;
  verdict: Verdict;
}

/** Judges each checkpoint. @returns by run, the newest first */
export function planCleanup(checkpoints: readonly Checkpoint[], rules: CleanupRules, now: EpochMs): Judged[] {
  const { maxTotalBytes, minKeep = 1 } = rules;
  const judged: (Judged & { isProtected: boolean })[] = [];
  for (const run of runsOf(checkpoints)) {
    for (const [rank, checkpoint] of run.sort(newerFirst).entries()) {
      const isProtected = rank < minKeep;
      const verdict = isProtected ? "keep" : verdictOf(rank, now - checkpoint.mtimeMs, rules);
      judged.push({ checkpoint, verdict, isProtected });
    }
  }
  if (maxTotalBytes !== undefined) {
    const kept = judged.filter(({ verdict }) => verdict === "keep");
    let total = kept.reduce((sum, { checkpoint }) => sum + checkpoint.bytes, 0);
    const oldestFirst = kept
      .filter(({ isProtected }) => !isProtected)
      .reverse()
      .sort((a, b) => ageRank(a, b));
    for (const one of oldestFirst) {
      if (total <= maxTotalBytes) break;
      one.verdict = "over-size";
      total -= one.checkpoint.bytes;
    }
  }
  return judged.map(({ checkpoint, verdict }) => ({ checkpoint, verdict }));
}

function runsOf(checkpoints: readonly Checkpoint[]): Checkpoint[][] {
  const runs = new Map<string, Checkpoint[]>();
  for (const checkpoint of checkpoints) {
    const run = runs.get(checkpoint.run);
    if (run) run.push(checkpoint);
    else runs.set(checkpoint.run, [checkpoint]);
  }
  return [...runs.keys()].sort().map((name) => runs.get(name)!);
}

function verdictOf(rank: number, ageMs: Milliseconds, { keepLastN, olderThanMs }: CleanupRules): Verdict {
  if (olderThanMs !== undefined && ageMs <= olderThanMs) return "keep";
  if (keepLastN !== undefined) return rank >= keepLastN ? "beyond-last-n" : "keep";
  return olderThanMs === undefined ? "keep" : "too-old";
}

function ageRank(a: Judged, b: Judged): number {
  return a.checkpoint.mtimeMs - b.checkpoint.mtimeMs;
}
