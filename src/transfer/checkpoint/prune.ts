/**
 * Removing checkpoints: whole ones, the oldest first.
 *
 * A folder carries its tombstone until the last, so that a removal that was killed in the middle is seen and ended by the
 * next cleanup, and half a checkpoint is never taken for a whole one. Of a checkpoint of single files the weights go
 * first: what is left then holds no weights.
 */
import { HawserError } from "../../common/errors.ts";
import type { Job } from "../job.ts";
import type { Metric } from "./metric.ts";
import { bestSteps } from "./metric.ts";
import { planKeep } from "./keep.ts";
import type { KeepRules, Kept } from "./keep.ts";
import type { CheckpointPlace } from "./place.ts";
import { weightsFirst } from "./step.ts";
import type { Step } from "./step.ts";

export interface PruneRules extends KeepRules {
  /** The best of each run stays, too. */
  best?: Metric | undefined;
}

/** Says what stays and what goes. @throws HawserError `not_found` when no checkpoint says the metric */
export async function planPrune(
  place: CheckpointPlace,
  steps: readonly Step[],
  rules: PruneRules,
  signal?: AbortSignal,
  placeOf: (step: Step) => CheckpointPlace = () => place,
): Promise<Kept[]> {
  const best = rules.best ? await bestSteps(placeOf, steps, rules.best, signal) : [];
  if (rules.best && best.length === 0 && steps.some(({ state }) => state === "complete"))
    throw noMetric(rules.best, place);
  return planKeep(steps, rules, new Set(best));
}

/** Removes what goes. Each checkpoint is one item of the job. */
export async function carryOutPrune(place: CheckpointPlace, plan: readonly Kept[], job: Job): Promise<void> {
  const going = plan.filter(({ goes }) => goes).map(({ step }) => step);
  job.found(going.length, 0);
  for (const step of going.toReversed()) {
    const { name, bytes, objects, isFolder } = step;
    await job.item({ action: "delete", source: place.show(name), bytes }, async () => {
      if (isFolder) return await place.removeFolder(name, objects, job.signal);
      for (const file of [...objects].sort(weightsFirst)) await place.removeFiles([file], job.signal);
    });
  }
}

export function noMetric({ name }: Metric, place: CheckpointPlace): HawserError {
  return new HawserError(
    "not_found",
    `No checkpoint of ${place.label} says '${name}': not by its name (${name}=0.5), nor in a file of metrics or a trainer_state.json.`,
  );
}
