/** Inventory: what of ours is in a region, found by tags, and taken away. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "@aws-sdk/client-ec2";
import type { PoolOwner, Leftover } from "../provider.ts";
import { unless } from "./clients.ts";
import type { Clients } from "./clients.ts";
import { IAM_PATH, removeProfile } from "./profile.ts";
import { TAG, belonging, poolFilters, resourceName } from "./tags.ts";

/** A pool's name and whose it is. */
export interface Whose {
  name: string;
  owner: Pick<PoolOwner, "id">;
}

type Filters = { Name: string; Values: string[] }[];

const ANY_POOL: Filters = [{ Name: "tag-key", Values: [TAG.pool] }];

const THERE = ["pending", "running", "stopping", "stopped", "shutting-down"];

/**
 * Instances with these tags that are not gone.
 *
 * @param ended also those that ended within the last hour or so, for as long as EC2 tells of them
 */
export async function instancesOf(
  clients: Clients,
  whose: Whose | undefined,
  { ended = false } = {},
): Promise<Instance[]> {
  const states = ended ? [...THERE, "terminated"] : THERE;
  const found: Instance[] = [];
  let token: string | undefined;
  do {
    const page = await clients.ec2("DescribeInstances", (client, sdk, options) =>
      client.send(
        new sdk.DescribeInstancesCommand({
          Filters: [...filtersOf(whose), { Name: "instance-state-name", Values: states }],
          ...(token === undefined ? {} : { NextToken: token }),
        }),
        options,
      ),
    );
    for (const { Instances = [] } of page.Reservations ?? []) found.push(...Instances);
    token = page.NextToken;
  } while (token);
  return found;
}

function filtersOf(whose: Whose | undefined): Filters {
  return whose ? poolFilters(whose.name, whose.owner) : ANY_POOL;
}

/** One thing of a region that is not an instance. */
export interface Thing extends Leftover {
  tags: readonly { Key?: string | undefined; Value?: string | undefined }[];
}

/** What pools have besides instances. */
export async function thingsOf(clients: Clients, whose: Whose | undefined): Promise<Thing[]> {
  const Filters = filtersOf(whose);
  const { region } = clients;
  const [templates, groups, volumes, addresses, placements] = await Promise.all([
    clients.ec2("DescribeLaunchTemplates", (client, sdk, options) =>
      client.send(new sdk.DescribeLaunchTemplatesCommand({ Filters }), options),
    ),
    clients.ec2("DescribeSecurityGroups", (client, sdk, options) =>
      client.send(new sdk.DescribeSecurityGroupsCommand({ Filters }), options),
    ),
    clients.ec2("DescribeVolumes", (client, sdk, options) =>
      client.send(
        new sdk.DescribeVolumesCommand({ Filters: [...Filters, { Name: "status", Values: ["available"] }] }),
        options,
      ),
    ),
    clients.ec2("DescribeAddresses", (client, sdk, options) =>
      client.send(new sdk.DescribeAddressesCommand({ Filters }), options),
    ),
    clients.ec2("DescribePlacementGroups", (client, sdk, options) =>
      client.send(new sdk.DescribePlacementGroupsCommand({ Filters }), options),
    ),
  ]);
  return [
    ...(templates.LaunchTemplates ?? []).map(({ LaunchTemplateId, Tags = [] }) => ({
      kind: "launch template",
      id: LaunchTemplateId!,
      region,
      tags: Tags,
    })),
    ...(groups.SecurityGroups ?? []).map(({ GroupId, Tags = [] }) => ({
      kind: "security group",
      id: GroupId!,
      region,
      tags: Tags,
    })),
    ...(placements.PlacementGroups ?? [])
      .filter(({ State }) => State !== "deleted" && State !== "deleting")
      .map(({ GroupName, Tags = [] }) => ({ kind: "placement group", id: GroupName!, region, tags: Tags })),
    ...(volumes.Volumes ?? []).map(({ VolumeId, Tags = [] }) => ({
      kind: "volume",
      id: VolumeId!,
      region,
      tags: Tags,
    })),
    ...(addresses.Addresses ?? []).map(({ AllocationId, Tags = [] }) => ({
      kind: "address",
      id: AllocationId!,
      region,
      tags: Tags,
    })),
  ];
}

/** Roles of ours, in every pool or one. IAM has no regions. */
export async function rolesOf(clients: Clients, whose: Whose | undefined): Promise<Thing[]> {
  const things: Thing[] = [];
  let Marker: string | undefined;
  do {
    const page = await clients.iam("ListRoles", (client, sdk, options) =>
      client.send(
        new sdk.ListRolesCommand({ PathPrefix: IAM_PATH, ...(Marker === undefined ? {} : { Marker }) }),
        options,
      ),
    );
    const names = (page.Roles ?? [])
      .filter(({ Path }) => Path === IAM_PATH)
      .map(({ RoleName }) => RoleName!)
      .filter((name) => !whose || name === resourceName(whose.name, whose.owner));
    for (const name of names) {
      const found = await unless(["NoSuchEntity", "NoSuchEntityException"], () =>
        clients.iam("ListRoleTags", (client, sdk, options) =>
          client.send(new sdk.ListRoleTagsCommand({ RoleName: name }), options),
        ),
      );
      if (found && belonging(found.Tags)) things.push({ kind: "role", id: name, tags: found.Tags ?? [] });
    }
    Marker = page.IsTruncated ? page.Marker : undefined;
  } while (Marker !== undefined);
  return things;
}

export async function terminateInstances(clients: Clients, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await unless(["InvalidInstanceID.NotFound"], () =>
    clients.ec2("TerminateInstances", (client, sdk, options) =>
      client.send(new sdk.TerminateInstancesCommand({ InstanceIds: [...ids] }), options),
    ),
  );
}

/** Sets these tags; ids of anything that EC2 has. */
export async function tag(
  clients: Clients,
  ids: readonly string[],
  tags: Record<string, string>,
): Promise<void> {
  if (ids.length === 0) return;
  const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  await clients.ec2("CreateTags", (client, sdk, options) =>
    client.send(new sdk.CreateTagsCommand({ Resources: [...ids], Tags }), options),
  );
}

/** Between two looks at something that is on its way. */
const LOOK_MS = 2000;

/** Resolves when none of the pool's instances is left but these. The signal bounds it. */
export async function untilEnded(
  clients: Clients,
  whose: Whose,
  kept: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const left = (await instancesOf(clients, whose)).filter(({ InstanceId }) => !kept.includes(InstanceId!));
    if (left.length === 0) return;
    await sleep(LOOK_MS, undefined, { signal });
  }
}

/** Removes what a pool has besides its instances, which must have ended. */
export async function removeThings(clients: Clients, things: readonly Leftover[]): Promise<void> {
  for (const { kind, id } of things) {
    if (kind === "role") {
      await removeProfile(clients, id);
    } else if (kind === "launch template") {
      await unless(["InvalidLaunchTemplateId.NotFound"], () =>
        clients.ec2("DeleteLaunchTemplate", (client, sdk, options) =>
          client.send(new sdk.DeleteLaunchTemplateCommand({ LaunchTemplateId: id }), options),
        ),
      );
    } else if (kind === "security group") {
      // One that is still in use is told by the look that follows.
      await unless(["InvalidGroup.NotFound", "DependencyViolation"], () =>
        clients.ec2("DeleteSecurityGroup", (client, sdk, options) =>
          client.send(new sdk.DeleteSecurityGroupCommand({ GroupId: id }), options),
        ),
      );
    } else if (kind === "placement group") {
      await unless(["InvalidPlacementGroup.Unknown", "InvalidPlacementGroup.InUse"], () =>
        clients.ec2("DeletePlacementGroup", (client, sdk, options) =>
          client.send(new sdk.DeletePlacementGroupCommand({ GroupName: id }), options),
        ),
      );
    } else if (kind === "volume") {
      await unless(["InvalidVolume.NotFound"], () =>
        clients.ec2("DeleteVolume", (client, sdk, options) =>
          client.send(new sdk.DeleteVolumeCommand({ VolumeId: id }), options),
        ),
      );
    } else if (kind === "address") {
      await releaseAddress(clients, id);
    }
  }
}

/** Gives an address back, taken off its instance where it is still on one. */
export async function releaseAddress(clients: Clients, AllocationId: string): Promise<void> {
  await unless(["InvalidAllocationID.NotFound"], async () => {
    const { Addresses: [found] = [] } = await clients.ec2("DescribeAddresses", (client, sdk, options) =>
      client.send(new sdk.DescribeAddressesCommand({ AllocationIds: [AllocationId] }), options),
    );
    const AssociationId = found?.AssociationId;
    if (AssociationId) {
      await unless(["InvalidAssociationID.NotFound"], () =>
        clients.ec2("DisassociateAddress", (client, sdk, options) =>
          client.send(new sdk.DisassociateAddressCommand({ AssociationId }), options),
        ),
      );
    }
    await clients.ec2("ReleaseAddress", (client, sdk, options) =>
      client.send(new sdk.ReleaseAddressCommand({ AllocationId }), options),
    );
  });
}
