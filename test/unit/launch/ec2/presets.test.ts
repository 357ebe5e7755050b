import { expect, test } from "vitest";
import {
  extendCatalogue,
  loadCatalogue,
  presetNamed,
  pricesSaid,
} from "../../../../src/launch/ec2/presets.ts";
import { INSTANCE_TYPES, onDemandPrice } from "../../../../src/launch/ec2/instance-types.ts";

test("every type of a shipped preset is known, with a price, the same GPUs in all of a preset", () => {
  for (const { instanceTypes } of extendCatalogue("", "presets.yaml").presets.values()) {
    const types = instanceTypes.map((name) => INSTANCE_TYPES.get(name)!);
    for (const type of types) expect(onDemandPrice(type, "us-east-1")).toBeGreaterThan(0);
    expect(new Set(types.map(({ gpus }) => JSON.stringify(gpus))).size).toBe(1);
  }
});

test("a user's file adds presets, replaces shipped ones, and prices types", () => {
  const catalogue = extendCatalogue(
    `presets:
  team-gpu: { description: ours, instanceTypes: [g6e.2xlarge] }
  gpu-t4: { instanceTypes: [g4dn.2xlarge] }
types:
  g6e.2xlarge: { hourlyCost: 2.24, vcpus: 8, memoryGiB: 64, gpus: { count: 1, name: L40S } }
  g5.xlarge: { hourlyCost: 0.9 }
`,
    "presets.yaml",
  );
  expect(presetNamed(catalogue, "team-gpu")).toMatchObject({ instanceTypes: ["g6e.2xlarge"] });
  expect(presetNamed(catalogue, "gpu-t4").instanceTypes).toEqual(["g4dn.2xlarge"]);
  expect(catalogue.types.get("g6e.2xlarge")).toMatchObject({ hourlyCost: 2.24, arch: "x64" });
  expect(catalogue.types.get("g5.xlarge")).toMatchObject({ hourlyCost: 0.9, gpus: { name: "A10G" } });
});

test("a user's prices of a region replace what is reckoned, and a plan says whose they are and of when", () => {
  const catalogue = extendCatalogue(
    `prices:
  eu-central-1: { g5.xlarge: 1.11, x9.huge: 5 }
pricesAsOf: 2026-10
`,
    "presets.yaml",
  );
  const price = (name: string, region: string) => onDemandPrice(catalogue.types.get(name)!, region);
  expect(price("g5.xlarge", "eu-central-1")).toBe(1.11);
  expect(price("g5.xlarge", "us-east-1")).toBe(1.006);
  expect(price("x9.huge", "eu-central-1")).toBe(5);
  expect(price("x9.huge", "us-east-1")).toBeUndefined();
  expect(pricesSaid(catalogue, ["g5.xlarge"])).toBe("g5.xlarge as of 2026-10 by presets.yaml");
  expect(pricesSaid(catalogue, ["g5.xlarge", "g6.xlarge"])).toMatch(
    /^g5\.xlarge as of 2026-10 by presets\.yaml; the others on demand as of \d{4}-\d{2} by Hawser's table/,
  );
  expect(pricesSaid(catalogue, ["g6.xlarge"])).toMatch(
    /^on demand as of \d{4}-\d{2} .*presets\.yaml replaces it$/,
  );
});

test("a preset that does not exist is refused with the nearest", () => {
  expect(() => presetNamed(extendCatalogue("", "p"), "gpu-a11")).toThrow(/gpu-a10/);
});

test("a mistake in the file names file and key; a named file must exist", () => {
  expect(() => extendCatalogue("presets: { x: { instanceTypes: [] } }", "/p.yaml")).toThrow(
    /\/p\.yaml: presets\.x\.instanceTypes/,
  );
  expect(() => loadCatalogue({ HAWSER_PRESETS: "/nowhere.yaml" })).toThrow(/\/nowhere\.yaml/);
});

test.each([
  ["us-east-1", 1.006],
  ["eu-central-1", 1.2575],
  ["xx-new-1", 1.2575],
])("a price in %s", (region, expected) => {
  expect(onDemandPrice(INSTANCE_TYPES.get("g5.xlarge")!, region)).toBe(expected);
});
