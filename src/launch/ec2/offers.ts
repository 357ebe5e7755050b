/**
 * Offers: what could be had, in the order in which it is asked for.
 *
 * Pure: types, prices and wishes in, a ranked list out. An offer is one instance type on one market in one zone. What
 * the user prefers decides first (the market for `spot-if-available`, the order of types for `on-demand`), the price
 * within it; `cheapest` looks at the price alone. Nothing is dropped silently: what is too dear stays in the list with
 * the reason.
 */
import { HawserError } from "../../common/errors.ts";
import type { ALLOCATIONS } from "../../config/pool-ec2.ts";
import type { Offer } from "../provider.ts";
import type { InstanceType } from "./instance-types.ts";

export type Allocation = (typeof ALLOCATIONS)[number];

export interface OfferWishes {
  allocation: Allocation;
  nodes: number;
  /** US dollars for the whole pool. */
  maxHourlyCost?: number | undefined;
  region: string;
}

export interface PricedType {
  type: InstanceType;
  /** Where the type exists. */
  zones: readonly string[];
  onDemand: number | undefined;
  /** The last spot price of each zone that has one. */
  spot: Readonly<Record<string, number>>;
}

export interface RankedOffer extends Offer {
  instanceType: string;
  zone: string;
}

/** @param types in the user's order @returns every offer; those with `skipped` behind the others */
export function rankOffers(types: readonly PricedType[], wishes: OfferWishes): RankedOffer[] {
  const { allocation } = wishes;
  const offers = types.flatMap((priced, preference) =>
    marketsOf(allocation).flatMap((spot) =>
      priced.zones.flatMap((zone) => {
        const cost = spot ? priced.spot[zone] : priced.onDemand;
        // A zone without a spot price has no spot market for this type.
        if (spot && cost === undefined) return [];
        return [{ preference, offer: offerOf(priced.type, zone, spot, cost, wishes) }];
      }),
    ),
  );
  const market = (offer: RankedOffer): number => (allocation === "spot-if-available" && !offer.spot ? 1 : 0);
  const cost = ({ hourlyCost }: RankedOffer): number => hourlyCost ?? Number.POSITIVE_INFINITY;
  const byPrice = allocation === "cheapest" || allocation === "spot" || allocation === "spot-if-available";
  return offers
    .sort(
      (a, b) =>
        Number(a.offer.skipped !== undefined) - Number(b.offer.skipped !== undefined) ||
        market(a.offer) - market(b.offer) ||
        (byPrice ? compare(cost(a.offer), cost(b.offer)) : 0) ||
        a.preference - b.preference ||
        compare(cost(a.offer), cost(b.offer)) ||
        (a.offer.zone < b.offer.zone ? -1 : 1),
    )
    .map(({ offer }) => offer);
}

/** Also of two infinities, whose difference is not a number. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function marketsOf(allocation: Allocation): readonly boolean[] {
  if (allocation === "spot") return [true];
  if (allocation === "on-demand") return [false];
  return [true, false];
}

function offerOf(
  type: InstanceType,
  zone: string,
  spot: boolean,
  hourlyCost: number | undefined,
  { nodes, maxHourlyCost }: OfferWishes,
): RankedOffer {
  const gpus = type.gpus ? `, ${type.gpus.count} × ${type.gpus.name}` : "";
  const offer: RankedOffer = {
    description: `${type.name} ${spot ? "spot" : "on demand"} in ${zone} (${type.vcpus} CPUs, ${type.memoryGiB} GiB${gpus})`,
    instanceType: type.name,
    zone,
    spot,
    hourlyCost,
  };
  if (maxHourlyCost === undefined) return offer;
  if (hourlyCost === undefined) {
    return { ...offer, skipped: "its price is not known; add it to types: of the presets file" };
  }
  const total = hourlyCost * nodes;
  if (total <= maxHourlyCost) return offer;
  return {
    ...offer,
    skipped: `${dollars(total)} an hour is more than maxHourlyCost ${dollars(maxHourlyCost)}`,
  };
}

export function dollars(amount: number): string {
  return `$${amount.toFixed(amount < 0.1 ? 4 : 2)}`;
}

/** The offers that may be taken. @throws HawserError `provision_failed` that says what would help */
export function takeable(offers: readonly RankedOffer[], wishes: OfferWishes): RankedOffer[] {
  const { region, allocation, nodes } = wishes;
  const left = offers.filter(({ skipped }) => skipped === undefined);
  if (left.length > 0) return left;
  if (offers.length === 0) {
    const market = allocation === "spot" ? "on the spot market " : "";
    throw new HawserError(
      "provision_failed",
      `None of the instance types can be had ${market}in ${region}; see where they are with 'hawser ec2 types --region ${region}', or choose other instanceTypes${allocation === "spot" ? " or allocation: spot-if-available" : ""}.`,
    );
  }
  const cheapest = [...offers].sort((a, b) =>
    compare(a.hourlyCost ?? Number.POSITIVE_INFINITY, b.hourlyCost ?? Number.POSITIVE_INFINITY),
  )[0]!;
  if (cheapest.hourlyCost === undefined) {
    throw new HawserError("provision_failed", `${cheapest.description}: ${cheapest.skipped}.`);
  }
  const total = cheapest.hourlyCost * nodes;
  throw new HawserError(
    "provision_failed",
    `Every offer costs more than maxHourlyCost ${dollars(wishes.maxHourlyCost ?? 0)}. The cheapest is ${cheapest.description}: ${dollars(total)} an hour for ${nodes} node${nodes === 1 ? "" : "s"}. Raise maxHourlyCost, take fewer nodes, or choose other instanceTypes.`,
  );
}

/** What one request for a fleet asks for: offers of one market, in order. */
export interface Round {
  spot: boolean;
  offers: RankedOffer[];
}

/**
 * Requests in order. Neighbours of one market share a request, since a fleet tries them by itself.
 *
 * @param together nodes must be of one type in one zone (a placement group): one offer a request
 */
export function roundsOf(offers: readonly RankedOffer[], together: boolean): Round[] {
  const rounds: Round[] = [];
  for (const offer of offers) {
    const last = rounds.at(-1);
    if (last && !together && last.spot === offer.spot) last.offers.push(offer);
    else rounds.push({ spot: offer.spot, offers: [offer] });
  }
  return rounds;
}
