/**
 * What stays and what goes of the checkpoints of a place: a pure function of the steps and the rules.
 *
 * The newest complete checkpoint of each run stays, whatever the rules say, and so does what may still be written: every
 * incomplete one that is newer than it or was touched a while ago. Incomplete ones take no place among the newest N. What
 * was left incomplete long ago goes with those behind them; what somebody began to remove goes always.
 */
import { newerFirst } from "../cleanup/group.ts";
import type { Step } from "./step.ts";

export interface KeepRules {
  /** The newest N complete ones of each run. */
  keepLast?: number | undefined;
  /** Every step that is a multiple of K. */
  keepEvery?: number | undefined;
}

export type Verdict = "newest" | "last" | "every" | "best" | "writing" | "behind" | "abandoned" | "removing";

export interface Kept {
  step: Step;
  verdict: Verdict;
  goes: boolean;
}

/** @param best those that stay for a metric @returns by run, the newest first */
export function planKeep(
  steps: readonly Step[],
  rules: KeepRules,
  best: ReadonlySet<Step> = new Set(),
): Kept[] {
  const runs = new Map<string, Step[]>();
  for (const step of steps) runs.set(step.run, [...(runs.get(step.run) ?? []), step]);
  return [...runs.keys()].sort().flatMap((run) => {
    let complete = 0;
    return runs
      .get(run)!
      .sort(newerFirst)
      .map((step) => {
        const rank = complete;
        if (step.state === "complete") complete++;
        const verdict = verdictOf(step, rank, rules, best);
        return { step, verdict, goes: GOES.has(verdict) };
      });
  });
}

const GOES: ReadonlySet<Verdict> = new Set(["behind", "abandoned", "removing"]);

/** @param rank how many complete ones are newer */
function verdictOf(step: Step, rank: number, rules: KeepRules, best: ReadonlySet<Step>): Verdict {
  const { keepLast, keepEvery } = rules;
  if (step.state === "removing") return "removing";
  if (step.state === "writing") return "writing";
  if (step.state === "abandoned") return rank >= Math.max(1, keepLast ?? 1) ? "abandoned" : "writing";
  if (rank === 0) return "newest";
  if (best.has(step)) return "best";
  if (keepLast !== undefined && rank < keepLast) return "last";
  if (keepEvery !== undefined && step.step !== undefined && step.step % keepEvery === 0) return "every";
  return "behind";
}
