/** A step: one checkpoint of a run, and how far it is. */
import { isWeights } from "../cleanup/checkpoint-name.ts";
import type { Checkpoint } from "../cleanup/group.ts";

/**
 * `complete`: everything that belongs to it is there. `writing`: something is missing, and it is young enough to be under
 * way. `abandoned`: something is missing, and nobody has touched it for long. `removing`: somebody began to remove it.
 */
export type StepState = "complete" | "writing" | "abandoned" | "removing";

export interface Step extends Checkpoint {
  isFolder: boolean;
  state: StepState;
  /** What is missing or wrong, where it is not complete. */
  why?: string | undefined;
}

/** The order of a step's files: weights, the largest first, then what goes with them. */
export function weightsFirst(
  a: { key: string; sizeBytes: number },
  b: { key: string; sizeBytes: number },
): number {
  return Number(isWeights(b.key)) - Number(isWeights(a.key)) || b.sizeBytes - a.sizeBytes;
}
