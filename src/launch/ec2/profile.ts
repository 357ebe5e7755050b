/** Instance profiles: what nodes may do. One is made for the pool, or a given one is looked at. */
import { HawserError } from "../../common/errors.ts";
import { handsOver } from "../volume-credentials.ts";
import type { ProviderContext } from "../provider.ts";
import { unless } from "./clients.ts";
import type { Clients } from "./clients.ts";
import { TRUST_EC2, nodePolicy } from "./policy.ts";
import type { Access } from "./policy.ts";
import { poolTags, resourceName } from "./tags.ts";

/** Everything of ours in IAM is below this path, so that it can be found and a user's policy can name it. */
export const IAM_PATH = "/hawser/";
const POLICY = "volumes";
const THERE = ["EntityAlreadyExists", "EntityAlreadyExistsException"];
const GONE = ["NoSuchEntity", "NoSuchEntityException"];

/** What the nodes must be allowed: volumes that their role serves, and `access`. */
export function accessOf({ volumes, config }: Pick<ProviderContext, "volumes" | "config">): Access[] {
  const served = volumes.filter(
    (volume) =>
      (volume.storage ?? "s3") === "s3" && volume.credentials !== "anonymous" && !handsOver("ec2", volume),
  );
  return [
    ...served.map(({ bucket, prefix, mode }) => ({
      bucket,
      prefix,
      mode: mode === "writable" ? ("writable" as const) : ("read-only" as const),
    })),
    ...(config.access ?? []),
  ];
}

/** A profile by name or ARN, and its role. @throws HawserError `provision_failed` */
export async function givenProfile(
  clients: Clients,
  nameOrArn: string,
): Promise<{ arn: string; role: string }> {
  const name = nameOrArn.slice(nameOrArn.lastIndexOf("/") + 1);
  const found = await unless(GONE, () =>
    clients.iam("GetInstanceProfile", (client, sdk, options) =>
      client.send(new sdk.GetInstanceProfileCommand({ InstanceProfileName: name }), options),
    ),
  );
  const profile = found?.InstanceProfile;
  if (!profile) {
    throw new HawserError(
      "provision_failed",
      `There is no instance profile '${name}'; write instanceProfile: auto, or its name.`,
    );
  }
  if (!profile.Roles?.length) {
    throw new HawserError("provision_failed", `The instance profile '${name}' has no role; add one to it.`);
  }
  return { arn: profile.Arn!, role: profile.Roles[0]!.Arn! };
}

/** The pool's own profile, made where it is missing. @returns its ARN */
export async function ownProfile(clients: Clients, context: ProviderContext): Promise<string> {
  const name = resourceName(context.name, context.owner);
  const Tags = poolTags(context);
  await unless(THERE, () =>
    clients.iam("CreateRole", (client, sdk, options) =>
      client.send(
        new sdk.CreateRoleCommand({
          RoleName: name,
          Path: IAM_PATH,
          AssumeRolePolicyDocument: JSON.stringify(TRUST_EC2),
          Description: `Nodes of the pool ${context.name}`,
          Tags,
        }),
        options,
      ),
    ),
  );
  const accesses = accessOf(context);
  if (accesses.length > 0) {
    await clients.iam("PutRolePolicy", (client, sdk, options) =>
      client.send(
        new sdk.PutRolePolicyCommand({
          RoleName: name,
          PolicyName: POLICY,
          PolicyDocument: JSON.stringify(nodePolicy(accesses, clients.region)),
        }),
        options,
      ),
    );
  }
  await unless(THERE, () =>
    clients.iam("CreateInstanceProfile", (client, sdk, options) =>
      client.send(
        new sdk.CreateInstanceProfileCommand({ InstanceProfileName: name, Path: IAM_PATH, Tags }),
        options,
      ),
    ),
  );
  // A profile that has its role already refuses another one.
  await unless(["LimitExceeded", "LimitExceededException", ...THERE], () =>
    clients.iam("AddRoleToInstanceProfile", (client, sdk, options) =>
      client.send(
        new sdk.AddRoleToInstanceProfileCommand({ InstanceProfileName: name, RoleName: name }),
        options,
      ),
    ),
  );
  const { InstanceProfile } = await clients.iam("GetInstanceProfile", (client, sdk, options) =>
    client.send(new sdk.GetInstanceProfileCommand({ InstanceProfileName: name }), options),
  );
  return InstanceProfile!.Arn!;
}

/** Takes profile and role away; what is not there is no failure. */
export async function removeProfile(clients: Clients, name: string): Promise<void> {
  const found = await unless(GONE, () =>
    clients.iam("GetInstanceProfile", (client, sdk, options) =>
      client.send(new sdk.GetInstanceProfileCommand({ InstanceProfileName: name }), options),
    ),
  );
  // None where a launcher was killed before it gave it one, or after it took it away.
  for (const { RoleName } of found?.InstanceProfile?.Roles ?? []) {
    await unless(GONE, () =>
      clients.iam("RemoveRoleFromInstanceProfile", (client, sdk, options) =>
        client.send(
          new sdk.RemoveRoleFromInstanceProfileCommand({ InstanceProfileName: name, RoleName }),
          options,
        ),
      ),
    );
  }
  await unless(GONE, () =>
    clients.iam("DeleteInstanceProfile", (client, sdk, options) =>
      client.send(new sdk.DeleteInstanceProfileCommand({ InstanceProfileName: name }), options),
    ),
  );
  await unless(GONE, () =>
    clients.iam("DeleteRolePolicy", (client, sdk, options) =>
      client.send(new sdk.DeleteRolePolicyCommand({ RoleName: name, PolicyName: POLICY }), options),
    ),
  );
  await unless(GONE, () =>
    clients.iam("DeleteRole", (client, sdk, options) =>
      client.send(new sdk.DeleteRoleCommand({ RoleName: name }), options),
    ),
  );
}
