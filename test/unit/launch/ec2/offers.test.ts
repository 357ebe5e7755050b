import { describe, expect, test } from "vitest";
import { INSTANCE_TYPES, onDemandPrice } from "../../../../src/launch/ec2/instance-types.ts";
import { rankOffers, roundsOf, takeable } from "../../../../src/launch/ec2/offers.ts";
import type { Allocation, OfferWishes, PricedType } from "../../../../src/launch/ec2/offers.ts";

const REGION = "us-east-1";

function priced(name: string, spot: Record<string, number>, zones = ["a", "b"]): PricedType {
  const type = INSTANCE_TYPES.get(name)!;
  return { type, zones, spot, onDemand: onDemandPrice(type, REGION) };
}

const G5 = priced("g5.xlarge", { a: 0.5, b: 0.4 });
const G6 = priced("g6.xlarge", { b: 0.3 });
const wishes = (allocation: Allocation, more: Partial<OfferWishes> = {}): OfferWishes => ({
  allocation,
  nodes: 2,
  region: REGION,
  ...more,
});
const brief = (allocation: Allocation, types = [G5, G6], more: Partial<OfferWishes> = {}) =>
  rankOffers(types, wishes(allocation, more)).map(
    ({ instanceType, zone, spot, skipped }) =>
      `${instanceType}/${zone}${spot ? " spot" : ""}${skipped ? " skipped" : ""}`,
  );

describe("ranking", () => {
  test.each<[Allocation, string[]]>([
    ["on-demand", ["g5.xlarge/a", "g5.xlarge/b", "g6.xlarge/a", "g6.xlarge/b"]],
    ["spot", ["g6.xlarge/b spot", "g5.xlarge/b spot", "g5.xlarge/a spot"]],
    [
      "spot-if-available",
      [
        "g6.xlarge/b spot",
        "g5.xlarge/b spot",
        "g5.xlarge/a spot",
        "g6.xlarge/a",
        "g6.xlarge/b",
        "g5.xlarge/a",
        "g5.xlarge/b",
      ],
    ],
  ])("%s", (allocation, expected) => {
    expect(brief(allocation)).toEqual(expected);
  });

  test("cheapest looks at the price alone, whichever market it is", () => {
    const dearSpot = priced("g5.xlarge", { a: 0.9 }, ["a"]);
    expect(brief("cheapest", [dearSpot, priced("g6.xlarge", {}, ["a"])])).toEqual([
      "g6.xlarge/a",
      "g5.xlarge/a spot",
      "g5.xlarge/a",
    ]);
  });

  test("maxHourlyCost is for the whole pool; what is dearer stays in the list with the reason", () => {
    expect(brief("cheapest", [G5, G6], { maxHourlyCost: 1 })).toEqual([
      "g6.xlarge/b spot",
      "g5.xlarge/b spot",
      "g5.xlarge/a spot",
      "g6.xlarge/a skipped",
      "g6.xlarge/b skipped",
      "g5.xlarge/a skipped",
      "g5.xlarge/b skipped",
    ]);
  });

  test("a type without a known price is skipped only where a most is set", () => {
    const unknown: PricedType = {
      type: { name: "x9.large", vcpus: 2, memoryGiB: 8, arch: "x64" },
      zones: ["a"],
      onDemand: undefined,
      spot: {},
    };
    expect(brief("on-demand", [unknown])).toEqual(["x9.large/a"]);
    expect(rankOffers([unknown], wishes("on-demand", { maxHourlyCost: 9 }))[0]!.skipped).toMatch(
      /price is not known/,
    );
  });
});

describe("none left", () => {
  test("names the cheapest and what it costs", () => {
    const limits = wishes("on-demand", { nodes: 4, maxHourlyCost: 1 });
    expect(() => takeable(rankOffers([G5, G6], limits), limits)).toThrow(
      /cheapest is g6\.xlarge on demand in a .*: \$3\.22 an hour for 4 nodes/,
    );
  });

  test("says that there is no spot market", () => {
    const none = wishes("spot");
    expect(() => takeable(rankOffers([priced("g6.xlarge", {})], none), none)).toThrow(
      /spot market in us-east-1.*spot-if-available/,
    );
  });
});

test("neighbours of one market share a request, unless nodes must be together", () => {
  const offers = rankOffers([G5, G6], wishes("spot-if-available"));
  expect(roundsOf(offers, false).map(({ spot, offers: { length } }) => [spot, length])).toEqual([
    [true, 3],
    [false, 4],
  ]);
  expect(roundsOf(offers, true)).toHaveLength(7);
});
