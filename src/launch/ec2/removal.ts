/** Taking away: everything of a pool, what is left of it, and instances that nobody can log in to any more. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "@aws-sdk/client-ec2";
import type { Milliseconds } from "../../common/units.ts";
import type { Leftover } from "../provider.ts";
import type { Clients } from "./clients.ts";
import {
  instancesOf,
  removeThings,
  rolesOf,
  tag,
  terminateInstances,
  thingsOf,
  untilEnded,
} from "./inventory.ts";
import type { Whose } from "./inventory.ts";
import { living } from "./nodes.ts";
import { TAG, tagOf } from "./tags.ts";

const LOOK_MS: Milliseconds = 2000;

/** @param kept ids of instances that are meant to be there */
export async function leftoversOf(
  clients: Clients,
  whose: Whose,
  kept: readonly string[],
): Promise<Leftover[]> {
  const [instances, things, roles] = await Promise.all([
    instancesOf(clients, whose),
    thingsOf(clients, whose),
    rolesOf(clients, whose),
  ]);
  // What kept nodes need is expected to be there with them.
  const besides = kept.length > 0 ? [] : [...things, ...roles].map(({ tags: _tags, ...thing }) => thing);
  return [
    ...living(instances)
      .filter(({ InstanceId }) => !kept.includes(InstanceId!))
      .map(({ InstanceId, State }) => ({
        kind: "instance",
        id: InstanceId!,
        region: clients.region,
        detail: State?.Name,
      })),
    ...besides,
  ];
}

/** Ends the pool's instances, waits, and takes the rest away. */
export async function removeWhole(clients: Clients, whose: Whose, signal: AbortSignal): Promise<void> {
  const instances = await instancesOf(clients, whose);
  await terminateInstances(
    clients,
    instances.map(({ InstanceId }) => InstanceId!),
  );
  await untilEnded(clients, whose, [], signal);
  await removeThings(clients, [...(await thingsOf(clients, whose)), ...(await rolesOf(clients, whose))]);
}

/**
 * Ends the instances of a pool that nobody can log in to any more: those that may hold data are asked by a tag, which the
 * worker on them sees, brings home what it has, and switches the machine off.
 *
 * @returns those that are still there
 */
export async function bringHome(
  clients: Clients,
  whose: Whose,
  { signal, waitMs }: { signal: AbortSignal; waitMs: Milliseconds },
): Promise<Leftover[]> {
  const instances = living(await instancesOf(clients, whose));
  const mayHoldData = instances.filter(({ Tags }) => tagOf(Tags, TAG.writes) === "yes");
  const idsOf = (some: readonly Instance[]): string[] => some.map(({ InstanceId }) => InstanceId!);
  await terminateInstances(clients, idsOf(instances.filter((instance) => !mayHoldData.includes(instance))));
  await tag(clients, idsOf(mayHoldData), { [TAG.end]: new Date().toISOString() });
  const deadline = performance.now() + waitMs;
  const asked = new Set(idsOf(mayHoldData));
  for (;;) {
    const left = living(await instancesOf(clients, whose)).filter(({ InstanceId }) => asked.has(InstanceId!));
    const awaited = left.filter(({ State }) => State?.Name !== "stopped" && State?.Name !== "stopping");
    if (awaited.length > 0 && performance.now() < deadline) {
      await sleep(LOOK_MS, undefined, { signal });
      continue;
    }
    return left.map(({ InstanceId, State }) => ({
      kind: "instance",
      id: InstanceId!,
      region: clients.region,
      detail:
        State?.Name === "stopped" || State?.Name === "stopping"
          ? "is stopped, and may hold data that is not in the bucket; start it and clean up again"
          : "was asked to bring its data to the bucket and to end, and has not ended yet; clean up again later",
    }));
  }
}
