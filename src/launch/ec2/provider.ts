/**
 * Instances of EC2.
 *
 * What a pool has is found by its tags, never by a list of ours, so that every function can follow one that was killed
 * in the middle. The provider's own state is the region and the host keys that were handed out.
 */
import type { PoolNode } from "../node.ts";
import type { Provider } from "../provider.ts";
import { switchOn, untilOff, untilRunning } from "./booting.ts";
import { Clients } from "./clients.ts";
import { discover } from "./discovery.ts";
import { instancesOf, tag, terminateInstances, thingsOf } from "./inventory.ts";
import { living, numbered, statusOf } from "./nodes.ts";
import { plan } from "./planning.ts";
import { provision } from "./provisioning.ts";
import { bringHome, leftoversOf, removeWhole } from "./removal.ts";
import { clientsOf, stateOf } from "./state.ts";
import { TAG, expiryText, tagOf } from "./tags.ts";

export const ec2Provider: Provider = {
  kind: "ec2",
  makesMachines: true,

  plan,
  provision,
  discover,

  async describe(context) {
    if (!stateOf(context)) return [];
    using clients = await clientsOf(context);
    const all = await instancesOf(clients, context, { ended: true });
    const there = living(all);
    const found = numbered(there);
    const gone = all.filter((instance) => !there.includes(instance));
    return [
      ...[...found].map(([index, instance]) => statusOf(instance, index, context)),
      ...gone.map((instance) => statusOf(instance, Number(tagOf(instance.Tags, TAG.node) ?? 0), context)),
    ];
  },

  async noteWrites(context, nodes, mayWrite) {
    using clients = await clientsOf(context);
    const ids = nodes.map(({ id }) => id);
    await tag(clients, ids, { [TAG.writes]: mayWrite ? "yes" : "no" });
  },

  switchesOff: true,

  cannotStop(nodes) {
    const spot = nodes.filter(({ facts }) => facts?.spot);
    if (spot.length === 0) return undefined;
    return "Spot instances of a fleet cannot be stopped; end the pool with 'hawser pool down'.";
  },

  async stop(context, nodes, { wait }) {
    using clients = await clientsOf(context);
    const InstanceIds = nodes.map(({ id }) => id);
    await clients.ec2("StopInstances", (client, sdk, options) =>
      client.send(new sdk.StopInstancesCommand({ InstanceIds }), options),
    );
    if (wait) await untilOff(clients, context, InstanceIds);
  },

  async start(context, nodes) {
    using clients = await clientsOf(context);
    const InstanceIds = nodes.map(({ id }) => id);
    const all = living(await instancesOf(clients, context));
    await switchOn(
      clients,
      context,
      all.filter(({ InstanceId }) => InstanceIds.includes(InstanceId!)),
    );
    await untilRunning(clients, context, InstanceIds);
    // Among all of them, so that each keeps its index.
    const now = numbered(living(await instancesOf(clients, context)));
    return [...now]
      .map(([index, instance]) => statusOf(instance, index, context).node)
      .filter(({ id }) => InstanceIds.includes(id));
  },

  async extend(context, expiresMs) {
    using clients = await clientsOf(context);
    const [instances, things] = await Promise.all([
      instancesOf(clients, context),
      thingsOf(clients, context),
    ]);
    const ids = [...instances.map(({ InstanceId }) => InstanceId!), ...things.map(({ id }) => id)];
    await tag(clients, ids, { [TAG.expires]: expiryText(expiresMs) });
  },

  async terminate(context, nodes, { wholePool }) {
    if (!stateOf(context)) return;
    using clients = await clientsOf(context);
    if (wholePool) await removeWhole(clients, context, context.signal);
    else
      await terminateInstances(
        clients,
        nodes.map(({ id }: PoolNode) => id),
      );
  },

  async verifyRemoved(context, kept) {
    if (!stateOf(context)) return [];
    using clients = await clientsOf(context);
    return await leftoversOf(
      clients,
      context,
      kept.map(({ id }) => id),
    );
  },

  async remove(found, { environment, signal, waitMs }) {
    using clients = new Clients(found.region ?? "us-east-1", environment, signal);
    const left = await bringHome(clients, found, { signal, waitMs });
    if (left.length > 0) return left;
    await removeWhole(clients, found, signal);
    return await leftoversOf(clients, found, []);
  },
};
