/**
 * Machines that are gone: whoever waits for one that its provider has ended waits in vain.
 *
 * One object for each launch, so that however many nodes are waited for, the provider is asked once every few seconds.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { eachNode } from "./each.ts";
import type { NodeStatus, PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";

const FRESH_MS: Milliseconds = 5000;
/** How long a node that fell silent before the job may take to answer again, or to be gone. */
const SILENT_MS: Milliseconds = 60_000;
const RETRY_MS: Milliseconds = 1000;

/** `node_failed`, told apart from a machine that is there and does not do what it should. */
export class GoneError extends HawserError {}

export class GoneWatch {
  private readonly context: PoolContext;
  private asked: { atMs: Milliseconds; found: Promise<NodeStatus[] | undefined> } | undefined;

  constructor(context: PoolContext) {
    this.context = context;
  }

  /** Resolves where the machine is there, or where nobody knows. @throws GoneError where it is gone */
  async refuseGone(node: PoolNode, signal: AbortSignal): Promise<void> {
    if (!this.context.provider.makesMachines) return;
    const found = await this.look(signal);
    if (!found) return;
    const status = found.find(({ node: { id } }) => id === node.id);
    if (status && status.state !== "gone") return;
    const why = status?.reason === undefined ? "" : ` (${status.reason.replace(/\.$/, "")})`;
    throw new GoneError("node_failed", `${node.id} is gone${why}.`);
  }

  private look(signal: AbortSignal): Promise<NodeStatus[] | undefined> {
    const { context } = this;
    const now = context.clock.monotonic();
    if (!this.asked || now - this.asked.atMs > FRESH_MS) {
      const found = context.provider.describe(context.providerContext(signal)).catch(() => {
        signal.throwIfAborted();
        return undefined;
      });
      this.asked = { atMs: now, found };
    }
    return this.asked.found;
  }
}

/** A machine whose place another one takes. */
export interface LostNode {
  node: PoolNode;
  why: string;
}

/** Machines that cannot do what they should: another one may. Each is let go of only with its data in the bucket. */
export class MachinesFailed extends HawserError {
  readonly failed: readonly LostNode[];

  constructor(code: ErrorCode, message: string, failed: readonly LostNode[]) {
    super(code, message);
    this.failed = failed;
  }
}

/**
 * Nodes of the pool that are gone, after something failed: where the failure may be that one fell silent, once that is known
 * of it, or once all of them answer.
 */
export async function lostNodes(context: PoolContext, error: unknown): Promise<readonly LostNode[]> {
  const { clock, signal } = context;
  const beganMs = clock.monotonic();
  for (;;) {
    const gone = await goneNodes(context);
    if (gone.length > 0) return gone;
    const isSilence = HawserError.is(error, "ssh_unreachable", "node_failed", "step_timed_out");
    if (!isSilence || !context.provider.makesMachines || (await allAnswer(context))) return [];
    if (clock.monotonic() - beganMs > SILENT_MS) return [];
    await sleep(RETRY_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

async function goneNodes(context: PoolContext): Promise<LostNode[]> {
  const { nodes } = context.record;
  const watch = new GoneWatch(context);
  const outcomes = await eachNode(nodes, (node) => watch.refuseGone(node, context.signal));
  context.signal.throwIfAborted();
  return nodes.flatMap((node, i) => {
    const outcome = outcomes[i]!;
    return outcome.ok ? [] : [{ node, why: outcome.error.message }];
  });
}

async function allAnswer(context: PoolContext): Promise<boolean> {
  const outcomes = await eachNode(context.record.nodes, async (node) => {
    const session = context.session(node);
    try {
      await (await session.worker(context.signal)).call("status", {}, { signal: context.signal });
    } catch (error) {
      session.reset();
      throw error;
    }
  });
  return outcomes.every(({ ok }) => ok);
}
