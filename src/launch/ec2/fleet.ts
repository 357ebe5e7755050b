/**
 * Fleets: asking for instances, round by round, until there are enough.
 *
 * A round is one CreateFleet of the type `instant`: it answers with what it got and why it did not get the rest. The
 * launch template it needs (one for each number of network cards) lives for one call of `launchInstances` and carries the
 * tags, so that nothing is ever without them.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestLaunchTemplateData, _InstanceType } from "@aws-sdk/client-ec2";
import { HawserError, toHawserError } from "../../common/errors.ts";
import { GiB } from "../../common/units.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { ProviderContext } from "../provider.ts";
import type { Clients } from "./clients.ts";
import { serviceCode, unless } from "./clients.ts";
import { explainLaunch, isUnknownProfile, mayFallOver } from "./errors.ts";
import type { Image } from "./image.ts";
import type { Network } from "./network.ts";
import { networkInterfaces } from "./network-cards.ts";
import type { CardRound } from "./network-cards.ts";
import type { RankedOffer, Round } from "./offers.ts";
import { poolTags, resourceName, showsTags } from "./tags.ts";

const ROOT_GIB = 100;
/** How long IAM may take to tell EC2 of a new instance profile; it takes some 10 s. */
const PROFILE_MS: Milliseconds = 90_000;
const PROFILE_LOOK_MS: Milliseconds = 2000;

export interface Launch {
  image: Image;
  groups: string[];
  profileArn: string;
  userData: string;
  /** Name of the placement group. */
  placement?: string | undefined;
  efa: boolean;
  network: Network;
  rounds: readonly CardRound[];
}

/** What every instance of a launch has. Pure. */
export function templateData(
  context: ProviderContext,
  launch: Omit<Launch, "rounds" | "network">,
  cards: number,
): RequestLaunchTemplateData {
  const { config } = context;
  const { image, groups, profileArn, userData, placement, efa } = launch;
  const Tags = poolTags(context);
  return {
    ImageId: image.id,
    UserData: Buffer.from(userData).toString("base64"),
    IamInstanceProfile: { Arn: profileArn },
    ...(config.keyPair === undefined ? {} : { KeyName: config.keyPair }),
    // A node that switches itself off is gone: so it ends although nobody looks after it.
    InstanceInitiatedShutdownBehavior: "terminate",
    MetadataOptions: {
      HttpTokens: "required",
      HttpEndpoint: "enabled",
      // A container on the node is one hop further away.
      HttpPutResponseHopLimit: 2,
      // How an orphan is asked to end: see instance-notices.ts.
      InstanceMetadataTags: showsTags(Tags) ? "enabled" : "disabled",
    },
    BlockDeviceMappings: [
      {
        DeviceName: image.rootDevice,
        Ebs: {
          VolumeSize: Math.ceil((config.rootVolumeSize ?? ROOT_GIB * GiB) / GiB),
          VolumeType: "gp3",
          Encrypted: true,
          DeleteOnTermination: true,
          ...(config.kmsKey === undefined ? {} : { KmsKeyId: config.kmsKey }),
        },
      },
    ],
    NetworkInterfaces: networkInterfaces({ groups, efa, cards, isPublic: config.address !== "private" }),
    ...(placement === undefined ? {} : { Placement: { GroupName: placement } }),
    TagSpecifications: (["instance", "volume", "network-interface"] as const).map((ResourceType) => ({
      ResourceType,
      Tags,
    })),
  };
}

/** Launches up to `missing` instances. @returns their ids @throws HawserError `provision_failed` when none is left to ask */
export async function launchInstances(
  clients: Clients,
  context: ProviderContext,
  launch: Launch,
  missing: number,
): Promise<string[]> {
  const templates = new Map<number, string>();
  const templateFor = async ({ cards }: CardRound): Promise<string> => {
    const id = templates.get(cards) ?? (await makeTemplate(clients, context, launch, cards));
    templates.set(cards, id);
    return id;
  };
  try {
    return await askRounds(clients, context, { ...launch, templateFor }, missing);
  } finally {
    for (const id of templates.values()) {
      await unless(["InvalidLaunchTemplateId.NotFound"], () =>
        clients.ec2("DeleteLaunchTemplate", (client, sdk, options) =>
          client.send(new sdk.DeleteLaunchTemplateCommand({ LaunchTemplateId: id }), options),
        ),
      );
    }
  }
}

/** @returns its id */
async function makeTemplate(
  clients: Clients,
  context: ProviderContext,
  launch: Launch,
  cards: number,
): Promise<string> {
  const { LaunchTemplate } = await clients.ec2("CreateLaunchTemplate", (client, sdk, options) =>
    client.send(
      new sdk.CreateLaunchTemplateCommand({
        LaunchTemplateName: `${resourceName(context.name, context.owner)}-${randomUUID().slice(0, 8)}`,
        LaunchTemplateData: templateData(context, launch, cards),
        TagSpecifications: [{ ResourceType: "launch-template", Tags: poolTags(context) }],
      }),
      options,
    ),
  );
  return LaunchTemplate!.LaunchTemplateId!;
}

type Asking = Launch & { templateFor: (this: void, round: CardRound) => Promise<string> };

async function askRounds(
  clients: Clients,
  context: ProviderContext,
  launch: Asking,
  missing: number,
): Promise<string[]> {
  const ids: string[] = [];
  const refusals: string[] = [];
  for (const round of launch.rounds) {
    const wanted = missing - ids.length;
    const template = await launch.templateFor(round);
    const ask = (count: number) => askFleet(clients, { ...launch, template }, round, count);
    const { made, errors } = await askPatiently(context, ask, wanted);
    ids.push(...made);
    if (ids.length >= missing) return ids;
    for (const { code, message, where } of errors) {
      const text = `${where}: ${explainLaunch(code, message, clients.region)}`;
      refusals.push(text);
      if (!mayFallOver(code)) throw failed(ids.length, missing, refusals);
    }
    context.events({
      type: "note",
      text: `${made.length} of ${wanted} nodes from ${round.spot ? "spot" : "on-demand"} offers (${[...new Set(errors.map(({ code }) => code))].join(", ") || "no reason given"}); going on with the next offer`,
    });
  }
  throw failed(ids.length, missing, refusals);
}

function failed(got: number, missing: number, refusals: readonly string[]): HawserError {
  return new HawserError(
    "provision_failed",
    [`${got} of ${missing} nodes could be had:`, ...new Set(refusals)].join("\n"),
  );
}

/**
 * Asks again while EC2 does not know the instance profile: one that was just made takes it seconds to hear of.
 */
async function askPatiently(
  context: ProviderContext,
  ask: (count: number) => Promise<{ made: string[]; errors: Refusal[] }>,
  wanted: number,
): Promise<{ made: string[]; errors: Refusal[] }> {
  const deadline = performance.now() + PROFILE_MS;
  const made: string[] = [];
  for (;;) {
    const answer = await ask(wanted - made.length);
    made.push(...answer.made);
    const waits = answer.errors.some(({ code, message }) => isUnknownProfile(code, message));
    if (!waits || made.length >= wanted || performance.now() > deadline)
      return { made, errors: answer.errors };
    context.events({ type: "note", text: "EC2 does not know the instance profile yet; asking again" });
    await sleep(PROFILE_LOOK_MS, undefined, { signal: context.signal });
  }
}

interface Refusal {
  code: string | undefined;
  message: string;
  where: string;
}

async function askFleet(
  clients: Clients,
  { template, network }: Launch & { template: string },
  { spot, offers }: Round,
  wanted: number,
): Promise<{ made: string[]; errors: Refusal[] }> {
  const subnetOf = ({ zone }: RankedOffer): string =>
    network.subnets.find((subnet) => subnet.zone === zone)!.id;
  const asked = clients.ec2("CreateFleet", (client, sdk, options) =>
    client.send(
      new sdk.CreateFleetCommand({
        Type: "instant",
        LaunchTemplateConfigs: [
          {
            LaunchTemplateSpecification: { LaunchTemplateId: template, Version: "$Latest" },
            Overrides: offers.map((offer, Priority) => ({
              InstanceType: offer.instanceType as _InstanceType,
              SubnetId: subnetOf(offer),
              Priority,
            })),
          },
        ],
        TargetCapacitySpecification: {
          TotalTargetCapacity: wanted,
          DefaultTargetCapacityType: spot ? "spot" : "on-demand",
        },
        ...(spot
          ? {
              SpotOptions: {
                AllocationStrategy: "capacity-optimized-prioritized" as const,
                InstanceInterruptionBehavior: "terminate" as const,
              },
            }
          : { OnDemandOptions: { AllocationStrategy: "prioritized" as const } }),
      }),
      options,
    ),
  );
  const answer = await asked.catch((error: unknown) => {
    // Said of the whole request or of each offer, as it comes.
    const { message } = toHawserError(error);
    if (isUnknownProfile(serviceCode(error), message)) return { code: serviceCode(error), message };
    throw error;
  });
  if ("message" in answer) return { made: [], errors: [{ ...answer, where: "the fleet" }] };
  return {
    made: (answer.Instances ?? []).flatMap(({ InstanceIds = [] }) => InstanceIds),
    errors: (answer.Errors ?? []).map(
      ({ ErrorCode: code, ErrorMessage: message = "", LaunchTemplateAndOverrides }) => {
        const {
          InstanceType: type,
          SubnetId,
          AvailabilityZone,
        } = LaunchTemplateAndOverrides?.Overrides ?? {};
        const zone = AvailabilityZone ?? network.subnets.find(({ id }) => id === SubnetId)?.zone;
        return {
          code,
          message,
          where: `${type ?? "the fleet"} ${spot ? "spot" : "on demand"}${zone ? ` in ${zone}` : ""}`,
        };
      },
    ),
  };
}
