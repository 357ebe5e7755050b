/** Switching a pool's machines off and on again: drained before, mounted and proven after. */
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
      }),
    ),
  );
  await steps.run("teardown", {}, (signal) => provider.stop(context.providerContext(signal), nodes));
  context.update({ phase: "stopped" });
}

export async function startPool(context: PoolContext): Promise<void> {
  const { provider, steps } = context;
  const plan = await steps.run("plan", {}, () => planPool(context));
  const started = await steps.run("provision", {}, (signal) =>
    provider.start(context.providerContext(signal), context.record.nodes),
  );
  context.update({ phase: "preparing", nodes: started, volumes: plan.volumes });
  await prepareNodes(context, started, context.record.config.timeouts?.ssh ?? plan.sshTimeoutMs);
  context.update({ phase: "ready" });
}
