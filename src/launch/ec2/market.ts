/** The market: which of the wished instance types a region has, where, and for how much. */
import type { ProviderContext } from "../provider.ts";
import type { EpochMs } from "../../common/units.ts";
import { HawserError } from "../../common/errors.ts";
import type { Clients } from "./clients.ts";
import { onDemandPrice } from "./instance-types.ts";
import type { InstanceType } from "./instance-types.ts";
import { rankOffers } from "./offers.ts";
import type { OfferWishes, PricedType, RankedOffer } from "./offers.ts";
import { loadCatalogue, presetNamed } from "./presets.ts";
import type { Network } from "./network.ts";

const HOUR_MS = 3600_000;

/** The types that a pool may have, preferred ones first. @throws HawserError `invalid_argument`, `config_*` */
export function wishedTypes({
  config,
  environment,
}: Pick<ProviderContext, "config" | "environment">): InstanceType[] {
  const catalogue = loadCatalogue(environment);
  const names = config.instanceTypes ?? presetNamed(catalogue, config.preset ?? "").instanceTypes;
  return names.map(
    (name) =>
      catalogue.types.get(name) ?? {
        name,
        vcpus: 0,
        memoryGiB: 0,
        // The letter behind the generation: `g` is Graviton.
        arch: /^[a-z]+\d+[a-z]*g[a-z]*\./.test(name) && !/^g\d+\./.test(name) ? "arm64" : "x64",
      },
  );
}

export interface SpotPrice {
  type: string;
  zone: string;
  hourlyCost: number;
  atMs: EpochMs;
}

/** Spot prices since then, newest first. */
export async function spotHistory(
  clients: Clients,
  types: readonly string[],
  sinceMs: EpochMs,
): Promise<SpotPrice[]> {
  const { SpotPriceHistory = [] } = await clients.ec2("DescribeSpotPriceHistory", (client, sdk, options) =>
    client.send(
      new sdk.DescribeSpotPriceHistoryCommand({
        InstanceTypes: types as never,
        ProductDescriptions: ["Linux/UNIX"],
        StartTime: new Date(sinceMs),
      }),
      options,
    ),
  );
  return SpotPriceHistory.flatMap(
    ({ InstanceType: type, AvailabilityZone: zone, SpotPrice: price, Timestamp }) =>
      type && zone && price
        ? [{ type, zone, hourlyCost: Number(price), atMs: Timestamp?.getTime() ?? sinceMs }]
        : [],
  ).sort((a, b) => b.atMs - a.atMs);
}

/** Zones of a region that have each type. */
export async function zonesOf(clients: Clients, types: readonly string[]): Promise<Map<string, string[]>> {
  const zones = new Map<string, string[]>();
  let token: string | undefined;
  do {
    const page = await clients.ec2("DescribeInstanceTypeOfferings", (client, sdk, options) =>
      client.send(
        new sdk.DescribeInstanceTypeOfferingsCommand({
          LocationType: "availability-zone",
          Filters: [{ Name: "instance-type", Values: [...types] }],
          ...(token === undefined ? {} : { NextToken: token }),
        }),
        options,
      ),
    );
    for (const { InstanceType: type, Location } of page.InstanceTypeOfferings ?? []) {
      if (type && Location) zones.set(type, [...(zones.get(type) ?? []), Location]);
    }
    token = page.NextToken;
  } while (token);
  return zones;
}

/** Every offer for a pool, ranked. */
export async function offersFor(
  clients: Clients,
  context: ProviderContext,
  network: Network,
): Promise<{ offers: RankedOffer[]; wishes: OfferWishes; types: InstanceType[] }> {
  const { config, clock } = context;
  const types = wishedTypes(context);
  const architectures = new Set(types.map(({ arch }) => arch));
  if (architectures.size > 1) {
    throw new HawserError(
      "config_invalid",
      "The instance types are of two architectures; name those of one.",
    );
  }
  const names = types.map(({ name }) => name);
  const wishes: OfferWishes = {
    allocation: config.allocation ?? "on-demand",
    nodes: config.nodes ?? 1,
    maxHourlyCost: config.maxHourlyCost,
    region: clients.region,
  };
  const [zones, history] = await Promise.all([
    zonesOf(clients, names),
    wishes.allocation === "on-demand" ? [] : spotHistory(clients, names, clock.now() - HOUR_MS),
  ]);
  const usable = new Set(network.subnets.map(({ zone }) => zone));
  const priced = types.map((type): PricedType => {
    const spot: Record<string, number> = {};
    for (const { type: name, zone, hourlyCost } of history) {
      if (name === type.name) spot[zone] ??= hourlyCost;
    }
    return {
      type,
      zones: (zones.get(type.name) ?? []).filter((zone) => usable.has(zone)).sort(),
      onDemand: onDemandPrice(type, clients.region),
      spot,
    };
  });
  return { offers: rankOffers(priced, wishes), wishes, types };
}
