/**
 * Instances of EC2.
 *
 * What a pool has is found by its tags, never by a list of ours, so that every function can follow one that was killed
 * in the middle. The provider's own state is the region and the host keys that were handed out.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import type { Instance } from "@aws-sdk/client-ec2";
import { toHawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { NodeState, NodeStatus, PoolNode } from "../node.ts";
import type { Check, DiscoveredPool, Leftover, Provider, ProviderContext } from "../provider.ts";
import { stillborn, switchOn, untilOff, untilRunning, untilRunningOrDead } from "./booting.ts";
import { Clients, isOfAws, poolRegion } from "./clients.ts";
import { launchInstances } from "./fleet.ts";
import { findImage } from "./image.ts";
import type { Image } from "./image.ts";
import { instancesOf, removeThings, rolesOf, terminateInstances, thingsOf, untilEnded } from "./inventory.ts";
import type { Whose } from "./inventory.ts";
import { offersFor } from "./market.ts";
import { findNetwork, securityGroup } from "./network.ts";
import type { Network } from "./network.ts";
import { roundsOf, takeable } from "./offers.ts";
import type { OfferWishes, RankedOffer } from "./offers.ts";
import { INSTANCE_TYPES, onDemandPrice } from "./instance-types.ts";
import { efaCards, giveAddresses, roundsByCards } from "./network-cards.ts";
import { loadCatalogue, pricesSaid } from "./presets.ts";
import { placementGroup, placementOf } from "./placement.ts";
import type { Placement } from "./placement.ts";
import { newKeyPair } from "./openssh-key.ts";
import { givenProfile, ownProfile } from "./profile.ts";
import { profileChecks } from "./profile-check.ts";
import { TAG, belonging, expiryText, tagOf } from "./tags.ts";
import { userData } from "./user-data.ts";

const SSH_TIMEOUT_MS: Milliseconds = 180_000;
/** How often instances that end while they start are replaced, in one launch. */
const REPLACEMENTS = 2;
const LOOK_MS: Milliseconds = 2000;

interface Ec2State {
  region: string;
  /** Of every launch, as in .pub files. */
  hostKeys: string[];
  /** Who the image lets in. */
  user?: string | undefined;
  /** US dollars an hour on the spot market when it was asked, by type and zone. */
  spotPrices?: Record<string, number> | undefined;
}

const stateOf = ({ state }: ProviderContext): Ec2State | undefined => state as Ec2State | undefined;

async function clientsOf(context: ProviderContext): Promise<Clients> {
  const { config, volumes, environment, signal } = context;
  const region = stateOf(context)?.region ?? (await poolRegion(config.region, volumes, environment));
  return new Clients(region, environment, signal);
}

interface Choice {
  network: Network;
  offers: RankedOffer[];
  wishes: OfferWishes;
  image: Image;
  placement: Placement;
}

async function choose(clients: Clients, context: ProviderContext): Promise<Choice> {
  const { config } = context;
  const network = await findNetwork(clients, config);
  const market = await offersFor(clients, context, network);
  const [first] = market.types;
  const image = await findImage(
    clients,
    config.ami ?? (first!.gpus ? "deep-learning" : "ubuntu"),
    first!.arch,
  );
  return { ...market, network, image, placement: placementOf(config, market.types) };
}

const isAuto = (profile: string | undefined): profile is undefined | "auto" =>
  profile === undefined || profile === "auto";

const STATES: Record<string, NodeState> = {
  pending: "pending",
  running: "running",
  stopping: "stopping",
  stopped: "stopped",
  "shutting-down": "gone",
  terminated: "gone",
};

function statusOf(instance: Instance, index: number, context?: ProviderContext): NodeStatus {
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
function numbered(instances: readonly Instance[]): Map<number, Instance> {
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

const living = (instances: readonly Instance[]): Instance[] =>
  instances.filter(({ State }) => STATES[State?.Name ?? ""] !== "gone");

const keyPath = ({ folder }: ProviderContext): string => join(folder, "id_ed25519");

/** The key that logs in to the pool's nodes, made once. @returns its public half */
function userKey(context: ProviderContext): string {
  const path = keyPath(context);
  try {
    readFileSync(path);
    return readFileSync(`${path}.pub`, "utf8").trim();
  } catch {
    const { privateKey, publicKey } = newKeyPair();
    writeFileSync(`${path}.pub`, `${publicKey}\n`, { mode: 0o600 });
    writeFileSync(path, privateKey, { mode: 0o600 });
    return publicKey;
  }
}

async function tag(clients: Clients, ids: readonly string[], tags: Record<string, string>): Promise<void> {
  if (ids.length === 0) return;
  const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  await clients.ec2("CreateTags", (client, sdk, options) =>
    client.send(new sdk.CreateTagsCommand({ Resources: [...ids], Tags }), options),
  );
}

function spotPricesOf(offers: readonly RankedOffer[]): Record<string, number> {
  return Object.fromEntries(
    offers.flatMap(({ spot, hourlyCost, instanceType, zone }) =>
      spot && hourlyCost !== undefined ? [[`${instanceType} ${zone}`, hourlyCost]] : [],
    ),
  );
}

/**
 * @param avoid where instances ended while they were starting: taken only where there is nothing else
 * @returns ids of the new ones
 */
async function launchMissing(
  clients: Clients,
  context: ProviderContext,
  missing: number,
  avoid: ReadonlySet<string | undefined>,
): Promise<string[]> {
  const { config, name, expiresMs } = context;
  const { network, offers, wishes, image, placement } = await choose(clients, context);
  const { efa, group, together } = placement;
  const all = takeable(offers, wishes);
  const elsewhere = all.filter(({ instanceType, zone }) => !avoid.has(`${instanceType} ${zone}`));
  const taken = elsewhere.length > 0 ? elsewhere : all;
  const cards = efa
    ? await efaCards(
        clients,
        taken.map(({ instanceType }) => instanceType),
      )
    : new Map<string, number>();
  const rounds = roundsByCards(roundsOf(taken, together), cards);
  const hostKey = newKeyPair();
  const publicKey = userKey(context);
  await context.save({
    region: clients.region,
    hostKeys: [...(stateOf(context)?.hostKeys ?? []), hostKey.publicKey],
    user: image.user,
    spotPrices: { ...stateOf(context)?.spotPrices, ...spotPricesOf(offers) },
  } satisfies Ec2State);
  const profileArn = isAuto(config.instanceProfile)
    ? await ownProfile(clients, context)
    : (await givenProfile(clients, config.instanceProfile)).arn;
  const groups = [await securityGroup(clients, context, network), ...(config.securityGroups ?? [])];
  return await launchInstances(
    clients,
    context,
    {
      image,
      groups,
      profileArn,
      network,
      rounds,
      efa,
      ...(group ? { placement: await placementGroup(clients, context) } : {}),
      userData: userData({ pool: name, hostKey, userKey: publicKey, expiresMs }),
    },
    missing,
  );
}

async function leftoversOf(clients: Clients, whose: Whose, kept: readonly string[]): Promise<Leftover[]> {
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
async function removeWhole(clients: Clients, whose: Whose, signal: AbortSignal): Promise<void> {
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
async function bringHome(
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

async function everyRegion(environment: Environment, signal: AbortSignal): Promise<string[]> {
  using clients = new Clients(
    await poolRegion(undefined, [{ region: "us-east-1" }], environment),
    environment,
    signal,
  );
  const { Regions = [] } = await clients.ec2("DescribeRegions", (client, sdk, options) =>
    client.send(new sdk.DescribeRegionsCommand({}), options),
  );
  return Regions.map(({ RegionName }) => RegionName!);
}

async function discoverIn(
  region: string,
  environment: Environment,
  signal: AbortSignal,
): Promise<DiscoveredPool[]> {
  using clients = new Clients(region, environment, signal);
  const [instances, things] = await Promise.all([
    instancesOf(clients, undefined),
    thingsOf(clients, undefined),
  ]);
  const pools = new Map<string, DiscoveredPool>();
  const poolFor = (tags: Parameters<typeof belonging>[0]): DiscoveredPool | undefined => {
    const whose = belonging(tags);
    if (!whose) return undefined;
    const key = `${whose.owner.id} ${whose.pool}`;
    const { pool: name, owner, expiresMs } = whose;
    const pool = pools.get(key) ?? { name, owner, expiresMs, region, nodes: [], leftovers: [] };
    pools.set(key, pool);
    return pool;
  };
  for (const instance of living(instances)) {
    const pool = poolFor(instance.Tags);
    pool?.nodes.push(statusOf(instance, Number(tagOf(instance.Tags, TAG.node) ?? pool.nodes.length)));
  }
  for (const { tags, ...thing } of things) poolFor(tags)?.leftovers.push(thing);
  return [...pools.values()];
}

export const ec2Provider: Provider = {
  kind: "ec2",
  makesMachines: true,

  async plan(context) {
    using clients = await clientsOf(context);
    const checks: Check[] = [];
    const nodes = context.config.nodes ?? 1;
    const plan = {
      nodes,
      offers: [] as RankedOffer[],
      checks,
      hourlyCost: undefined,
      sshTimeoutMs: SSH_TIMEOUT_MS,
    };
    try {
      const { offers, wishes, image, placement } = await choose(clients, context);
      const [first] = takeable(offers, wishes);
      checks.push({ name: "image", outcome: "ok", detail: image.id });
      const named = [...new Set(offers.map(({ instanceType }) => instanceType))];
      const detail = pricesSaid(loadCatalogue(context.environment), named);
      checks.push({ name: "prices", outcome: "ok", detail });
      if (placement.group || placement.efa) {
        const what = [placement.group ? "a placement group" : "", placement.efa ? "EFA" : ""];
        checks.push({
          name: "placement",
          outcome: "ok",
          detail: what.filter((word) => word !== "").join(", "),
        });
      }
      const profile = context.config.instanceProfile;
      if (!isAuto(profile)) {
        checks.push(...(await profileChecks(clients, context, profile)));
      }
      for (const volume of context.volumes) {
        const { name, region } = volume;
        if (region === undefined || region === clients.region || !isOfAws(volume, context.environment))
          continue;
        checks.push({
          name: `volume ${name}`,
          outcome: "warning",
          detail: `its bucket is in ${region}, the nodes in ${clients.region}: each GB read costs about $0.02, and takes longer`,
        });
      }
      const hourlyCost = first?.hourlyCost === undefined ? undefined : first.hourlyCost * nodes;
      return { ...plan, offers, hourlyCost };
    } catch (error) {
      const failure = toHawserError(error);
      checks.push({ name: "EC2", outcome: "failed", detail: failure.message, error: failure });
      return plan;
    }
  },

  async provision(context, { replace }) {
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
  },

  async describe(context) {
    if (!stateOf(context)) return [];
    using clients = await clientsOf(context);
    const all = await instancesOf(clients, context, { ended: true });
    const found = numbered(living(all));
    const gone = all.filter(({ State }) => STATES[State?.Name ?? ""] === "gone");
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

  async discover({ owner, everyone, environment, regions, signal }) {
    const all = regions ?? (await everyRegion(environment, signal));
    const found = (await Promise.all(all.map((region) => discoverIn(region, environment, signal)))).flat();
    using clients = new Clients(all[0] ?? "us-east-1", environment, signal);
    for (const { tags, ...role } of await rolesOf(clients, undefined)) {
      const { pool: name, owner: whose, expiresMs } = belonging(tags)!;
      const pool = found.find((one) => one.name === name && one.owner.id === whose.id);
      if (pool) pool.leftovers.push(role);
      else
        found.push({ name, owner: whose, expiresMs, region: clients.region, nodes: [], leftovers: [role] });
    }
    return found.filter((pool) => everyone || pool.owner.id === owner.id);
  },

  async remove(found, { environment, signal, waitMs }) {
    using clients = new Clients(found.region ?? "us-east-1", environment, signal);
    const left = await bringHome(clients, found, { signal, waitMs });
    if (left.length > 0) return left;
    await removeWhole(clients, found, signal);
    return await leftoversOf(clients, found, []);
  },
};
