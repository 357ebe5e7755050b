/** Rounds and interfaces by the number of network cards. */
import { describe, expect, test } from "vitest";
import { networkInterfaces, roundsByCards } from "../../../../src/launch/ec2/network-cards.ts";
import type { RankedOffer } from "../../../../src/launch/ec2/offers.ts";

const offer = (instanceType: string): RankedOffer => ({
  description: instanceType,
  instanceType,
  zone: "us-east-1a",
  spot: false,
  hourlyCost: 1,
});

describe("rounds", () => {
  test("are split where the number of cards changes, in their order", () => {
    const rounds = [{ spot: false, offers: ["a.x", "b.x", "c.x", "a.x"].map(offer) }];
    const cards = new Map([
      ["a.x", 4],
      ["b.x", 4],
      ["c.x", 32],
    ]);
    expect(
      roundsByCards(rounds, cards).map((round) => [
        round.cards,
        round.offers.map(({ instanceType }) => instanceType),
      ]),
    ).toEqual([
      [4, ["a.x", "b.x"]],
      [32, ["c.x"]],
      [4, ["a.x"]],
    ]);
  });

  test("stay whole where nothing is known of cards", () => {
    const rounds = [{ spot: true, offers: ["a.x", "b.x"].map(offer) }];
    expect(roundsByCards(rounds, new Map())).toEqual([{ ...rounds[0], cards: 1 }]);
  });
});

describe("interfaces", () => {
  test("one card: one interface, public where it is wanted", () => {
    expect(networkInterfaces({ groups: ["sg-1"], efa: false, cards: 1, isPublic: true })).toEqual([
      { DeviceIndex: 0, Groups: ["sg-1"], DeleteOnTermination: true, AssociatePublicIpAddress: true },
    ]);
  });

  test("32 cards: one for each, the first with the address, none with a public one", () => {
    const all = networkInterfaces({ groups: ["sg-1"], efa: true, cards: 32, isPublic: true });
    expect(all).toHaveLength(32);
    expect(all[0]).toMatchObject({ NetworkCardIndex: 0, DeviceIndex: 0, InterfaceType: "efa" });
    expect(new Set(all.slice(1).map(({ InterfaceType }) => InterfaceType))).toEqual(new Set(["efa-only"]));
    expect(all.map(({ NetworkCardIndex }) => NetworkCardIndex)).toEqual(
      Array.from({ length: 32 }, (_, i) => i),
    );
    expect(all.some((one) => "AssociatePublicIpAddress" in one)).toBe(false);
  });
});
