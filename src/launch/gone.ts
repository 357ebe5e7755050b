/**
 * Machines that are gone: whoever waits for one that its provider has ended waits in vain.
 *
 * One object for each launch, so that however many nodes are waited for, the provider is asked once every few seconds.
 */
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { NodeStatus, PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";

const FRESH_MS: Milliseconds = 5000;

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
