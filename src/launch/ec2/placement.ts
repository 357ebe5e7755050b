/** Nodes near each other: the placement group of a pool, and which nodes talk through an Elastic Fabric Adapter. */
import { HawserError } from "../../common/errors.ts";
import type { ProviderContext } from "../provider.ts";
import { unless } from "./clients.ts";
import type { Clients } from "./clients.ts";
import type { InstanceType } from "./instance-types.ts";
import { poolTags, resourceName } from "./tags.ts";

export interface Placement {
  efa: boolean;
  /** A group of its own, which is in one zone. */
  group: boolean;
  /** All nodes of one type in one zone. */
  together: boolean;
}

/** Pure. @throws HawserError `config_invalid` when an adapter is wanted of a type that has none */
export function placementOf(
  {
    efa,
    placementGroup,
    sameZone,
    nodes = 1,
  }: Pick<ProviderContext["config"], "efa" | "placementGroup" | "sameZone" | "nodes">,
  types: readonly Pick<InstanceType, "name" | "efa">[],
): Placement {
  const without = types.find((type) => !type.efa);
  if (efa && without) {
    throw new HawserError(
      "config_invalid",
      `${without.name} takes no Elastic Fabric Adapter; write efa: false, or other instanceTypes.`,
    );
  }
  const adapters = efa ?? (nodes > 1 && without === undefined);
  const group = placementGroup ?? adapters;
  return { efa: adapters, group, together: group || (sameZone ?? adapters) };
}

/** The pool's own group, made where it is missing. @returns its name */
export async function placementGroup(clients: Clients, context: ProviderContext): Promise<string> {
  const GroupName = resourceName(context.name, context.owner);
  await unless(["InvalidPlacementGroup.Duplicate"], () =>
    clients.ec2("CreatePlacementGroup", (client, sdk, options) =>
      client.send(
        new sdk.CreatePlacementGroupCommand({
          GroupName,
          Strategy: "cluster",
          TagSpecifications: [{ ResourceType: "placement-group", Tags: poolTags(context) }],
        }),
        options,
      ),
    ),
  );
  return GroupName;
}
