/** Instances as the nodes of a pool: which index each has, how it does, and where it is reached. */
import type { Instance } from "@aws-sdk/client-ec2";
import type { NodeState, NodeStatus } from "../node.ts";
import type { ProviderContext } from "../provider.ts";
import { INSTANCE_TYPES, onDemandPrice } from "./instance-types.ts";
import { loadCatalogue } from "./presets.ts";
import { keyPath, stateOf } from "./state.ts";
import { TAG, tagOf } from "./tags.ts";

const STATES: Record<string, NodeState> = {
  pending: "pending",
  running: "running",
  stopping: "stopping",
  stopped: "stopped",
  "shutting-down": "gone",
  terminated: "gone",
};

export function statusOf(instance: Instance, index: number, context?: ProviderContext): NodeStatus {
  const {
    InstanceId,
    PublicIpAddress,
    PrivateIpAddress,
    InstanceType: type = "",
    Placement,
    State,
  } = instance;
  const { config } = context ?? {};
  const state = context ? stateOf(context) : undefined;
  const known = (context ? loadCatalogue(context.environment).types : INSTANCE_TYPES).get(type);
  const spot = instance.InstanceLifecycle === "spot";
  const region = Placement?.AvailabilityZone?.replace(/[a-z]$/, "") ?? "";
  const address =
    (config?.address === "private" ? PrivateIpAddress : PublicIpAddress) ?? PrivateIpAddress ?? "";
  return {
    state: STATES[State?.Name ?? ""] ?? "unknown",
    ...(instance.StateReason?.Message ? { reason: instance.StateReason.Message } : {}),
    node: {
      index,
      id: InstanceId!,
      address,
      poolAddress: PrivateIpAddress,
      user: config?.ssh?.user ?? state?.user,
      hostKeys: state?.hostKeys,
      ...(context && config?.keyPair === undefined ? { identityFile: keyPath(context) } : {}),
      facts: {
        instanceType: type,
        zone: Placement?.AvailabilityZone,
        spot,
        ...(spot
          ? { hourlyCost: state?.spotPrices?.[`${type} ${Placement?.AvailabilityZone}`] }
          : known
            ? { hourlyCost: onDemandPrice(known, region) }
            : {}),
        ...(known?.gpus ? { gpus: known.gpus } : {}),
        startedMs: instance.LaunchTime?.getTime(),
      },
    },
  };
}

/** Instances in order of index; those without one, or with one that is taken, get the free ones. */
export function numbered(instances: readonly Instance[]): Map<number, Instance> {
  const byIndex = new Map<number, Instance>();
  const rest: Instance[] = [];
  const order = [...instances].sort((a, b) => (a.InstanceId! < b.InstanceId! ? -1 : 1));
  for (const instance of order) {
    const tag = Number(tagOf(instance.Tags, TAG.node) ?? Number.NaN);
    if (Number.isInteger(tag) && !byIndex.has(tag)) byIndex.set(tag, instance);
    else rest.push(instance);
  }
  let next = 0;
  for (const instance of rest) {
    while (byIndex.has(next)) next++;
    byIndex.set(next, instance);
  }
  return new Map([...byIndex].sort(([a], [b]) => a - b));
}

/** Those that are not gone; one that is switched off is there. */
export const living = (instances: readonly Instance[]): Instance[] =>
  instances.filter(({ State }) => STATES[State?.Name ?? ""] !== "gone");
