/** Pools as their tags tell of them, in every region: also those of which no record is left. */
import type { Environment } from "../../config/interpolate.ts";
import type { DiscoveredPool, Provider } from "../provider.ts";
import { Clients, poolRegion } from "./clients.ts";
import { instancesOf, rolesOf, thingsOf } from "./inventory.ts";
import { living, statusOf } from "./nodes.ts";
import { TAG, belonging, tagOf } from "./tags.ts";

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

export const discover: Provider["discover"] = async ({ owner, everyone, environment, regions, signal }) => {
  const all = regions ?? (await everyRegion(environment, signal));
  const found = (await Promise.all(all.map((region) => discoverIn(region, environment, signal)))).flat();
  using clients = new Clients(all[0] ?? "us-east-1", environment, signal);
  for (const { tags, ...role } of await rolesOf(clients, undefined)) {
    const { pool: name, owner: whose, expiresMs } = belonging(tags)!;
    const pool = found.find((one) => one.name === name && one.owner.id === whose.id);
    if (pool) pool.leftovers.push(role);
    else found.push({ name, owner: whose, expiresMs, region: clients.region, nodes: [], leftovers: [role] });
  }
  return found.filter((pool) => everyone || pool.owner.id === owner.id);
};
