/**
 * Ending a pool: drain, release, terminate, verify.
 *
 * A node whose data is not all in the bucket is kept and named, whatever else happens; so is one that cannot be asked.
 * Everything here may be called again after it ended in the middle.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { accountOf } from "./copying.ts";
import { eachNode } from "./each.ts";
import { GoneWatch } from "./gone.ts";
import type { NodeStatus, PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { handCredentials } from "./prepare.ts";
import { writesData } from "./pool-record.ts";
import type { NodeSession } from "./session.ts";
import type { WorkerClient } from "./worker-client.ts";
import { reportOn } from "./report.ts";
import type { DrainProgress, TransferResult, WorkerStatus } from "./worker/protocol.ts";

const LOGIN_MS: Milliseconds = 60_000;
/** Until machines that were switched off run. */
const WAKE_MS: Milliseconds = 10 * 60_000;
/** How long a node that does not answer any more may take to be gone, or to answer again. */
const LOST_MS: Milliseconds = 60_000;
const RETRY_MS: Milliseconds = 1000;

export interface EndOptions {
  /** End nodes although their data is not in the bucket. */
  force?: boolean | undefined;
}

interface Kept {
  index: number;
  reason: string;
}

/** @throws HawserError `drain_failed` with the nodes that were kept, `teardown_incomplete` with what is left */
export async function endPool(context: PoolContext, { force = false }: EndOptions = {}): Promise<void> {
  const { steps, provider } = context;
  context.update({ phase: "ending" });
  const { nodes, off } = await nodesToEnd(context, force);
  const outcomes = await eachNode(nodes, (node) =>
    off.has(node.id) ? endNodeThatIsOff(context, node, force) : endNode(context, node, force),
  );
  const kept: Kept[] = outcomes.flatMap((outcome, i) =>
    outcome.ok ? [] : [{ index: nodes[i]!.index, reason: outcome.error.message }],
  );
  const isKept = (node: PoolNode): boolean => kept.some(({ index }) => index === node.index);
  const ended = nodes.filter((node) => !isKept(node));
  const leftovers = await steps.run("teardown", {}, async (signal) => {
    const providerContext = context.providerContext(signal);
    await provider.terminate(providerContext, ended, { wholePool: kept.length === 0 });
    return await provider.verifyRemoved(context.providerContext(signal), nodes.filter(isKept));
  });
  const report = reportOn({ ...context.record, nodes }, outcomes, context.clock.now(), context.environment);
  if (report.nodes.some(({ usage, cost }) => usage ?? cost)) context.events({ type: "report", report });
  if (kept.length > 0) {
    context.update({ phase: "kept", kept, nodes: nodes.filter(isKept) });
    throw new HawserError(
      "drain_failed",
      kept
        .map(
          ({ index, reason }) =>
            `Node ${index} (${nodes.find((node) => node.index === index)!.id}) is kept: ${reason}`,
        )
        .join("\n") +
        `\nTry again with 'hawser pool down ${context.record.name}', or give its data up with --force.`,
    );
  }
  if (leftovers.length > 0) {
    throw new HawserError(
      "teardown_incomplete",
      `Not everything of the pool '${context.record.name}' is gone: ${leftovers.map(({ kind, id }) => `${kind} ${id}`).join(", ")}. Run 'hawser pool down ${context.record.name}' again.`,
    );
  }
  context.folder.remove();
}

interface ToEnd {
  nodes: PoolNode[];
  /** Ids of those that are switched off, and stay so. */
  off: ReadonlySet<string>;
}

/**
 * Those of the record, and those that the provider finds besides. One that is switched off and may hold data is switched
 * on, to bring it home.
 */
async function nodesToEnd(context: PoolContext, force: boolean): Promise<ToEnd> {
  const { provider, record } = context;
  const recorded = record.nodes;
  const found = await provider.describe(context.providerContext());
  // Those that are not among the kept ones have ended.
  const more = found.filter(
    ({ node, state }) =>
      record.kept.length === 0 &&
      state !== "gone" &&
      !recorded.some(
        ({ id, address }) => id === node.id && (address === node.address || provider.makesMachines),
      ),
  );
  const there = new Set(found.filter(({ state }) => state !== "gone").map(({ node }) => node.id));
  const gone = recorded.filter(({ id }) => provider.makesMachines && !there.has(id));
  for (const node of gone) {
    const { reason } = found.find(({ node: { id } }) => id === node.id) ?? {};
    const data = mayHoldData(context, node)
      ? "; if it had written anything that was not in the bucket by then, that is lost"
      : "";
    const text = `${node.id} is gone${reason === undefined ? "" : ` (${reason.replace(/\.$/, "")})`}${data}`;
    context.events({ type: "note", node: node.index, text });
  }
  const left = recorded.filter((node) => !gone.includes(node)).map((node) => atItsAddress(node, found));
  const nodes = [...left, ...more.map(({ node }) => node)];
  const isOff = (id: string): boolean =>
    found.some(({ node, state }) => node.id === id && (state === "stopped" || state === "stopping"));
  const off = new Set(nodes.map(({ id }) => id).filter(isOff));
  const toWake = nodes.filter((node) => !force && off.has(node.id) && mayHoldData(context, node));
  if (toWake.length === 0) return { nodes, off };
  const woken = new Map((await switchOn(context, toWake)).map((node) => [node.id, node]));
  for (const id of woken.keys()) off.delete(id);
  const now = nodes.map((node) => woken.get(node.id) ?? node);
  context.update({ nodes: now });
  return { nodes: now, off };
}

/** A machine that was switched off and on may have another address than the record says. */
function atItsAddress(node: PoolNode, found: readonly NodeStatus[]): PoolNode {
  const now = found.find(({ node: { id } }) => id === node.id)?.node;
  return now ? { ...node, address: now.address, poolAddress: now.poolAddress } : node;
}

/** Nodes that somebody stopped before they had brought home what they had written. Those that do not start stay off. */
async function switchOn(context: PoolContext, nodes: readonly PoolNode[]): Promise<PoolNode[]> {
  const names = nodes.map(({ id }) => id).join(", ");
  context.events({
    type: "note",
    text: `${names} ${nodes.length === 1 ? "is" : "are"} switched off and may hold data that is not in the bucket; switching on`,
  });
  try {
    return await context.steps.run("provision", { timeoutMs: WAKE_MS }, (signal) =>
      context.provider.start(context.providerContext(signal), nodes),
    );
  } catch (error) {
    if (context.signal.aborted) throw error;
    context.events({ type: "note", text: `${names} cannot be switched on: ${toHawserError(error).message}` });
    return [];
  }
}

/** @throws HawserError `drain_failed` where data may be on its disk */
function endNodeThatIsOff(context: PoolContext, node: PoolNode, force: boolean): Promise<undefined> {
  if (force || !mayHoldData(context, node)) return Promise.resolve(undefined);
  return Promise.reject(
    new HawserError(
      "drain_failed",
      "it is switched off, and what it has written may not all be in the bucket",
    ),
  );
}

/**
 * A node that falls silent may be ending by itself: its time is over, or another command has released it and it switches
 * itself off. So it is asked again, and its provider too, before it counts as one that cannot be asked.
 *
 * @returns what the node said last, where it was asked @throws HawserError why the node must be kept
 */
async function endNode(
  context: PoolContext,
  node: PoolNode,
  force: boolean,
): Promise<WorkerStatus | undefined> {
  const { clock, provider, signal } = context;
  const gone = new GoneWatch(context);
  let lostMs: Milliseconds | undefined;
  for (;;) {
    const attempt: Attempt = { reached: false };
    try {
      return await askToEnd(context, node, force, attempt);
    } catch (error) {
      const { reached } = attempt;
      if (!reached && (force || !mayHoldData(context, node))) return undefined;
      lostMs ??= clock.monotonic();
      const mayEnd = reached || provider.makesMachines;
      if (!mayEnd || !isSilence(error) || clock.monotonic() - lostMs > LOST_MS) {
        throw reached ? error : notAsked(error);
      }
      if (await isGone(context, gone, node)) return undefined;
      context.session(node).reset();
      await sleep(RETRY_MS, undefined, { signal });
    }
  }
}

interface Attempt {
  /** The node's worker has answered. */
  reached: boolean;
}

const isSilence = (error: unknown): boolean =>
  HawserError.is(error, "ssh_unreachable", "node_failed", "step_timed_out");

function notAsked(error: unknown): HawserError {
  const why = HawserError.is(error) ? error.message : String(error);
  return new HawserError(
    "drain_failed",
    `it cannot be asked whether all its data is in the bucket (${why})`,
    { cause: error },
  );
}

async function isGone(context: PoolContext, gone: GoneWatch, node: PoolNode): Promise<boolean> {
  try {
    await gone.refuseGone(node, context.signal);
    return false;
  } catch (error) {
    context.signal.throwIfAborted();
    context.events({ type: "note", node: node.index, text: toHawserError(error).message });
    return true;
  }
}

async function askToEnd(
  context: PoolContext,
  node: PoolNode,
  force: boolean,
  attempt: Attempt,
): Promise<WorkerStatus | undefined> {
  const { steps } = context;
  const session = context.session(node);
  const at = { node: node.index };
  const worker = await steps.run("ssh", { ...at, timeoutMs: LOGIN_MS }, (signal) =>
    reach(context, session, signal),
  );
  attempt.reached = true;
  if (!worker) return undefined;
  await renewCredentials(context, session);
  await steps.run("drain", at, (signal) => drainNode(context, node, worker, force, signal));
  return await steps.run("unmount", at, async (signal) => {
    const status = await worker.call("status", {}, { signal });
    await worker.call("release", { force }, { signal });
    return status;
  });
}

/** What the node has may be from a launcher that is long gone. Whether it is needed, the drain will tell. */
export async function renewCredentials(context: PoolContext, session: NodeSession): Promise<void> {
  try {
    const worker = await session.worker(context.signal);
    const { spec } = await worker.call("status", {}, { signal: context.signal });
    if (spec) await handCredentials(context, session, spec, context.signal);
  } catch (error) {
    context.events({
      type: "note",
      node: session.node.index,
      text: `fresh credentials could not be handed over (${toHawserError(error).message})`,
    });
  }
}

export async function drainNode(
  context: PoolContext,
  node: PoolNode,
  worker: WorkerClient,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (force) return;
  let told = 0;
  const { unflushed } = await worker.call(
    "drain",
    {},
    {
      signal,
      onEvent: (event) => {
        if ("direction" in (event as DrainProgress | TransferResult)) {
          context.events({ type: "note", node: node.index, text: accountOf(event as TransferResult) });
          return;
        }
        const { volume, pendingFiles, pendingBytes } = event as DrainProgress;
        if (context.clock.monotonic() - told < 2000) return;
        told = context.clock.monotonic();
        context.events({
          type: "note",
          node: node.index,
          text: `${volume}: ${pendingFiles} files, ${Math.ceil(pendingBytes / 2 ** 20)} MiB on their way to the bucket`,
        });
      },
    },
  );
  if (unflushed.length === 0) return;
  throw new HawserError(
    "drain_failed",
    unflushed.map(({ mount, reason }) => `${mount} is not all in the bucket: ${reason}`).join("; "),
  );
}

/** The worker of a node; `undefined` where there is nothing of the pool, or a pool of that name of somebody else. */
async function reach(
  { record }: PoolContext,
  session: NodeSession,
  signal: AbortSignal,
): Promise<WorkerClient | undefined> {
  await session.connection(signal);
  if (!(await session.knowsPool(signal))) return undefined;
  await session.bootstrap(signal);
  const worker = await session.worker(signal);
  const { spec } = await worker.call("status", {}, { signal });
  return spec === undefined || spec.owner.id === record.owner.id ? worker : undefined;
}

/** Before a volume was mounted, nothing can have been written; nor since a stop that brought everything home. */
function mayHoldData({ record }: PoolContext, { id }: PoolNode): boolean {
  return writesData(record) && (record.writers?.includes(id) ?? true);
}
