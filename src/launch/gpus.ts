/**
 * Whether a node has the GPUs that it should have.
 *
 * How many that is, the kind of the instance says; of a machine that exists the driver says it, which still knows a card
 * that has failed while it ran. A machine without any driver may get it by setup, so that it is looked at again after.
 */
import { HawserError } from "../common/errors.ts";
import type { Gpus } from "./bootstrap/probe.ts";
import type { PoolNode } from "./node.ts";

/** @returns what is wrong */
export function lostGpus({ id, facts }: Pick<PoolNode, "id" | "facts">, found: Gpus): string | undefined {
  const count = facts?.gpus?.count ?? found.driverGpus;
  const { length } = found.gpus;
  return length < count ? `${id}: nvidia-smi lists ${length} of its ${count} GPUs` : undefined;
}

/** Before anything is installed: a machine of whose GPUs some are dead. @throws HawserError `node_failed` */
export function refuseLostGpus(node: Pick<PoolNode, "id" | "facts">, found: Gpus): void {
  const isDriverMissing = found.gpus.length === 0 && found.driverGpus === 0;
  const lost = isDriverMissing ? undefined : lostGpus(node, found);
  if (lost !== undefined)
    throw new HawserError("node_failed", `${lost}; another machine, or a restart, may have all.`);
}
