/**
 * Booting: from instances that were asked for to instances that run.
 *
 * EC2 tells of a new instance only after a while, so one that is not listed yet counts as coming, for a minute. One that
 * ends instead of running (its disk cannot be made, its host fails) is told with EC2's own reason: whoever asked may take
 * another in its place.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "@aws-sdk/client-ec2";
import { HawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { ProviderContext } from "../provider.ts";
import type { Clients } from "./clients.ts";
import { instancesOf } from "./inventory.ts";

const LOOK_MS: Milliseconds = 2000;
/** How long EC2 may take to tell of an instance that it has made. */
const UNSEEN_MS: Milliseconds = 60_000;

/** An instance that ended while it was starting. */
export interface Stillborn {
  id: string;
  why: string;
  /** `TYPE ZONE`, where it is known: the next one had better be another. */
  where: string | undefined;
  /** It is only switched off: its disk is there. */
  isOff: boolean;
}

/** `m5.large us-east-1a`. */
export function placeOf({ InstanceType, Placement }: Instance): string {
  return `${InstanceType} ${Placement?.AvailabilityZone}`;
}

/** Resolves when all of these run, or when one of them is known never to. The signal bounds it. */
export async function untilRunningOrDead(
  clients: Clients,
  context: ProviderContext,
  ids: readonly string[],
): Promise<{ running: Instance[]; dead: Stillborn[] }> {
  const began = performance.now();
  for (;;) {
    const all = await instancesOf(clients, context, { ended: true });
    const found = new Map(all.map((instance) => [instance.InstanceId!, instance]));
    const unseenIsDead = performance.now() - began > UNSEEN_MS;
    const dead = ids.flatMap((id): Stillborn[] => {
      const instance = found.get(id);
      if (!instance)
        return unseenIsDead ? [{ id, why: "EC2 does not know it", where: undefined, isOff: false }] : [];
      const { State, StateReason } = instance;
      if (State?.Name === "running" || State?.Name === "pending") return [];
      const isOff = State?.Name === "stopped" || State?.Name === "stopping";
      return [{ id, why: StateReason?.Message ?? "no reason is given", where: placeOf(instance), isOff }];
    });
    const running = ids.flatMap((id) => {
      const instance = found.get(id);
      return instance?.State?.Name === "running" ? [instance] : [];
    });
    if (dead.length > 0 || running.length === ids.length) return { running, dead };
    await sleep(LOOK_MS, undefined, { signal: context.signal });
  }
}

/** @throws HawserError `provision_failed` when one of them ends instead */
export async function untilRunning(
  clients: Clients,
  context: ProviderContext,
  ids: readonly string[],
): Promise<Instance[]> {
  const { running, dead } = await untilRunningOrDead(clients, context, ids);
  if (dead.length > 0) throw stillborn(dead, context.name);
  return running;
}

export function stillborn(dead: readonly Stillborn[], pool: string): HawserError {
  return new HawserError(
    "provision_failed",
    `${dead.map(({ id, why }) => `${id} ended while it was starting (${why.replace(/\.$/, "")})`).join("; ")}; try again with 'hawser pool up ${pool}', or choose other instanceTypes.`,
  );
}

/** Resolves when none of these is on its way to be switched off any more. The signal bounds it. */
export async function untilOff(
  clients: Clients,
  context: ProviderContext,
  ids: readonly string[],
): Promise<void> {
  for (;;) {
    const going = (await instancesOf(clients, context)).some(
      ({ InstanceId, State }) => ids.includes(InstanceId!) && State?.Name === "stopping",
    );
    if (!going) return;
    await sleep(LOOK_MS, undefined, { signal: context.signal });
  }
}

/** Switches on those of these that are off. One that is still being switched off refuses it, so that is waited for. */
export async function switchOn(
  clients: Clients,
  context: ProviderContext,
  instances: readonly Instance[],
): Promise<void> {
  const InstanceIds = instances
    .filter(({ State }) => State?.Name === "stopped" || State?.Name === "stopping")
    .map(({ InstanceId }) => InstanceId!);
  if (InstanceIds.length === 0) return;
  await untilOff(clients, context, InstanceIds);
  await clients.ec2("StartInstances", (client, sdk, options) =>
    client.send(new sdk.StartInstancesCommand({ InstanceIds }), options),
  );
}
