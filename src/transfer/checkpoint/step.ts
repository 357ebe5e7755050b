/** A step: one checkpoint of a run, and how far it is. */
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
