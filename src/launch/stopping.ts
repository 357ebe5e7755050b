/**
 * Stopping a pool and starting it again: drained before, mounted and proven after. Machines of ours are switched off in
 * between; machines that exist stay as they are, without mounts.
 */
import { HawserError } from "../common/errors.ts";
import { allOrThrow, eachNode } from "./each.ts";
import { drainNode } from "./ending.ts";
import type { PoolContext } from "./pool-context.ts";
import { planPool, prepareNodes } from "./prepare.ts";

/** @throws HawserError `not_supported`, `drain_failed` */
export async function stopPool(context: PoolContext): Promise<void> {
  const { provider, steps } = context;
  const { nodes } = context.record;
  const why = provider.cannotStop(nodes);
  if (why !== undefined) throw new HawserError("not_supported", why);
  context.update({ phase: "stopping" });
  allOrThrow(
    await eachNode(nodes, (node) =>
      steps.run("drain", { node: node.index }, async (signal) => {
        const worker = await context.session(node).worker(signal);
        await drainNode(context, node, worker, false, signal);
        // A stopped pool is meant to be idle; its time goes on.
        const { spec } = await worker.call("status", {}, { signal });
        if (spec) await worker.call("adopt", { spec: { ...spec, idleMs: undefined } }, { signal });
      }),
    ),
  );
  await provider.noteWrites(context.providerContext(), nodes, false);
  context.update({ writers: [] });
  await steps.run("teardown", {}, (signal) => provider.stop(context.providerContext(signal), nodes));
  context.update({ phase: "stopped" });
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
