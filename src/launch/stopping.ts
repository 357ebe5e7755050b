/**
 * Stopping a pool and starting it again: drained before, mounted and proven after. Machines of ours are switched off in
 * between; machines that exist stay as they are, without mounts.
 */
import { HawserError } from "../common/errors.ts";
import { allOrThrow, eachNode } from "./each.ts";
import type { Milliseconds } from "../common/units.ts";
import { drainNode, renewCredentials } from "./ending.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { planPool, prepareNodes } from "./prepare.ts";

/** Until machines that were asked to are switched off: EC2 takes a minute, machines with much memory several. */
const OFF_MS: Milliseconds = 15 * 60_000;

export interface StopOptions {
  /** Until the machines are switched off. Default: true. */
  wait?: boolean | undefined;
}

/** @throws HawserError `not_supported`, `drain_failed` */
export async function stopPool(context: PoolContext, { wait = true }: StopOptions = {}): Promise<void> {
  const { provider, steps } = context;
  const { nodes } = context.record;
  const why = provider.cannotStop(nodes);
  if (why !== undefined) throw new HawserError("not_supported", why);
  context.update({ phase: "stopping" });
  const on = await stillOn(context);
  allOrThrow(
    await eachNode(on, (node) =>
      steps.run("drain", { node: node.index }, async (signal) => {
        const session = context.session(node);
        await session.bootstrap(signal);
        const worker = await session.worker(signal);
        await renewCredentials(context, session);
        await drainNode(context, node, worker, false, signal);
        // A stopped pool is meant to be idle; its time goes on.
        const { spec } = await worker.call("status", {}, { signal });
        if (spec) await worker.call("adopt", { spec: { ...spec, idleMs: undefined } }, { signal });
      }),
    ),
  );
  await provider.noteWrites(context.providerContext(), on, false);
  const home = new Set(on.map(({ id }) => id));
  context.update({ writers: context.record.writers?.filter((id) => !home.has(id)) ?? [] });
  await steps.run("teardown", { timeoutMs: wait ? OFF_MS : undefined }, (signal) =>
    provider.stop(context.providerContext(signal), nodes, { wait }),
  );
  context.update({ phase: "stopped" });
}

/** Nodes that can be asked: not those that a stop which was interrupted, or somebody else, has switched off already. */
async function stillOn(context: PoolContext): Promise<readonly PoolNode[]> {
  const { provider, record } = context;
  if (!provider.switchesOff) return record.nodes;
  const found = await provider.describe(context.providerContext());
  const off = found.filter(({ state }) => state === "stopped" || state === "stopping");
  return record.nodes.filter(({ id }) => !off.some(({ node }) => node.id === id));
}

/** @throws HawserError `invalid_argument` for a pool whose time is over: it would end at once */
export async function startPool(context: PoolContext): Promise<void> {
  const { provider, steps, record, clock } = context;
  if (record.expiresMs !== undefined && record.expiresMs <= clock.now()) {
    throw new HawserError(
      "invalid_argument",
      `The time of the pool '${record.name}' is over; give it more with 'hawser pool extend ${record.name} --ttl TIME', or end it with 'hawser pool down ${record.name}'.`,
    );
  }
  const plan = await steps.run("plan", {}, () => planPool(context));
  const started = await steps.run("provision", {}, (signal) =>
    provider.start(context.providerContext(signal), context.record.nodes),
  );
  context.update({ phase: "preparing", nodes: started, volumes: plan.volumes });
  await prepareNodes(context, started, context.record.config.timeouts?.ssh ?? plan.sshTimeoutMs);
  context.update({ phase: "ready" });
}
