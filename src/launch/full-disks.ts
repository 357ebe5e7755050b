/**
 * Disks that are full before the job: what does not fit on any node is too much, and is said; what fits on the others,
 * another machine has room for.
 */
import { HawserError } from "../common/errors.ts";
import type { Outcome } from "./each.ts";
import { MachinesFailed } from "./gone.ts";
import type { PoolNode } from "./node.ts";

/**
 * @param outcomes of the nodes, in their order
 * @throws MachinesFailed of those that are full, where others are not and nothing else has failed
 */
export function refuseFullDisks(nodes: readonly PoolNode[], outcomes: readonly Outcome<unknown>[]): void {
  const failures = outcomes.flatMap((outcome, i) =>
    outcome.ok ? [] : [{ node: nodes[i]!, error: outcome.error }],
  );
  const isFull = failures.every(({ error }) => HawserError.is(error, "no_space"));
  if (failures.length === 0 || failures.length === nodes.length || !isFull) return;
  const failed = failures.map(({ node, error: { message } }) => ({ node, why: message }));
  throw new MachinesFailed("no_space", failed.map(({ why }) => why).join("\n"), failed);
}
