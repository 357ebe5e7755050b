/**
 * Provisioning: as many running instances as are wanted.
 *
 * Those that are there are taken up, switched on where they are off; what is missing is made; one that ends while it starts
 * is replaced, elsewhere if that can be.
 */
import type { Instance } from "@aws-sdk/client-ec2";
import type { Provider, ProviderContext } from "../provider.ts";
import { stillborn, switchOn, untilRunning, untilRunningOrDead } from "./booting.ts";
import { instancesOf, tag, terminateInstances } from "./inventory.ts";
import { launchMissing } from "./launching.ts";
import { giveAddresses } from "./network-cards.ts";
import { living, numbered, statusOf } from "./nodes.ts";
import { clientsOf } from "./state.ts";
import { TAG, tagOf } from "./tags.ts";

/** How often instances that end while they start are replaced, in one launch. */
const REPLACEMENTS = 2;

export const provision: Provider["provision"] = async (context, { replace }) => {
  using clients = await clientsOf(context);
  const wanted = context.config.nodes ?? 1;
  await terminateInstances(
    clients,
    replace.map(({ id }) => id),
  );
  const replaced = new Set(replace.map(({ id }) => id));
  const avoid = new Set<string | undefined>();
  // What is saved in the middle is what the nodes are described with at the end.
  let now: ProviderContext = {
    ...context,
    save: async (state) => {
      now = { ...now, state };
      await context.save(state);
    },
  };
  let running: Instance[];
  for (let replacements = 0; ; replacements++) {
    const present = living(await instancesOf(clients, context)).filter(
      ({ InstanceId }) => !replaced.has(InstanceId!),
    );
    await switchOn(clients, context, present);
    const before = present.map(({ InstanceId }) => InstanceId!);
    const missing = wanted - before.length;
    const made = missing > 0 ? await launchMissing(clients, now, missing, avoid) : [];
    const outcome = await untilRunningOrDead(clients, now, [...before, ...made]);
    running = outcome.running;
    if (outcome.dead.length === 0) {
      if (await giveAddresses(clients, now, running))
        running = await untilRunning(clients, now, [...before, ...made]);
      break;
    }
    // What was there before may have data on its disk, for as long as it has a disk.
    const mayHoldData = outcome.dead.some(({ id, isOff }) => isOff && before.includes(id));
    if (mayHoldData || replacements >= REPLACEMENTS) throw stillborn(outcome.dead, context.name);
    for (const { id, why, where } of outcome.dead) {
      replaced.add(id);
      avoid.add(where);
      const text = `${id} ended while it was starting (${why.replace(/\.$/, "")}). Another machine takes its place`;
      context.events({ type: "note", text });
    }
    // One of the new ones may be only switched off, with a disk that costs money.
    await terminateInstances(
      clients,
      outcome.dead.map(({ id }) => id),
    );
  }
  const nodes = [...numbered(running)].slice(0, wanted);
  for (const [index, instance] of nodes) {
    if (tagOf(instance.Tags, TAG.node) === String(index)) continue;
    await tag(clients, [instance.InstanceId!], {
      [TAG.node]: String(index),
      Name: `hawser-${context.name}-${index}`,
    });
  }
  return nodes.map(([index, instance]) => statusOf(instance, index, now).node);
};
