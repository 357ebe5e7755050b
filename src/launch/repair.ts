/**
 * Repair: a pool made whole before its job, and between two runs of it.
 *
 * A node that is gone, or that EC2 takes away, is replaced, after it has brought home what it has; one that was restarted
 * is mounted again. The others keep their mounts and caches.
 */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { allOrThrow, eachNode } from "./each.ts";
import { drainNode } from "./ending.ts";
import { GoneError, GoneWatch, MachinesFailed, lostNodes } from "./gone.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { REPLACEMENTS, preparePool } from "./prepare.ts";

/** How long a machine that is being taken away may take to bring its data home; EC2 gives it two minutes. */
const LET_GO_MS: Milliseconds = 5 * 60_000;
const RETRY_MS: Milliseconds = 1000;

/**
 * Does something before the job, and does it again when a machine was lost in the middle: one that is gone, or that fails
 * by itself, is replaced where machines are made, one that was restarted is mounted again.
 *
 * @param stage does only what is missing
 */
export async function onWholePool<T>(context: PoolContext, stage: () => Promise<T>): Promise<T> {
  for (let replacements = 0; ; replacements++) {
    try {
      return await stage();
    } catch (error) {
      context.signal.throwIfAborted();
      if (!context.provider.makesMachines || replacements >= REPLACEMENTS) throw error;
      const lost = error instanceof MachinesFailed ? error.failed : await lostNodes(context, error);
      for (const { node, why } of lost) context.events({ type: "note", node: node.index, text: why });
      const lostIndexes = lost.map(({ node }) => node.index);
      const wasBroken = await makeWhole(context, lostIndexes);
      // A connection that broke, and nothing else, is made again.
      if (!wasBroken && !HawserError.is(error, "ssh_unreachable")) throw error;
    }
  }
}

/**
 * @param lost indexes of nodes that are gone or taken away
 * @returns whether anything had to be done; the nodes want their files and setup then
 * @throws HawserError `drain_failed` for a machine that is to be taken away with data that is not in the bucket
 */
export async function makeWhole(context: PoolContext, lost: readonly number[]): Promise<boolean> {
  const { record } = context;
  const replace = record.nodes.filter(({ index }) => lost.includes(index));
  if (replace.length === 0 && (await isWhole(context))) return false;
  const gone = new GoneWatch(context);
  allOrThrow(
    await eachNode(replace, (node) =>
      context.steps.run("drain", { node: node.index, timeoutMs: LET_GO_MS }, (signal) =>
        letGo(context, node, gone, signal),
      ),
    ),
  );
  for (const node of replace) {
    context.events({ type: "note", node: node.index, text: `another machine takes the place of ${node.id}` });
  }
  await preparePool(context, { endsWithRun: record.endsWithRun ?? false, replace });
  return true;
}

/** Every node answers, and serves its volumes. */
async function isWhole(context: PoolContext): Promise<boolean> {
  const { signal } = context;
  setMaxListeners(0, signal);
  const outcomes = await eachNode(context.record.nodes, async (node) => {
    const worker = await context.session(node).worker(signal);
    const { mounts } = await worker.call("status", {}, { signal });
    return mounts.every(({ state }) => state === "serving");
  });
  return outcomes.every((outcome) => outcome.ok && outcome.value);
}

/** Resolves when nothing is on the machine any more that is not in the bucket, or when there is no machine. */
async function letGo(
  context: PoolContext,
  node: PoolNode,
  gone: GoneWatch,
  signal: AbortSignal,
): Promise<void> {
  const session = context.session(node);
  for (;;) {
    try {
      await gone.refuseGone(node, signal);
      const worker = await session.worker(signal);
      await drainNode(context, node, worker, false, signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      // It has released itself, which it does only with everything at home.
      if (error instanceof GoneError || HawserError.is(error, "pool_not_found")) return;
      if (!HawserError.is(error, "ssh_unreachable", "node_failed")) throw error;
      session.reset();
      await sleep(RETRY_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}
