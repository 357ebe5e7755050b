import { expect, test } from "vitest";
import { extendCatalogue, loadCatalogue, presetNamed } from "../../../../src/launch/ec2/presets.ts";
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
