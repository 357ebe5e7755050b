/**
 * Instance types that Hawser knows without asking: what they have, and what they cost on demand.
 *
 * Prices are US dollars an hour for Linux in us-east-1, as AWS publishes them; other regions are told by a factor. They
 * rank offers and guard `maxHourlyCost`; the bill is Amazon's. Spot prices are never taken from here. Types that are
 * not in the table can be used: EC2 tells what they have, and `types:` of the presets file what they cost.
 */

export interface InstanceType {
  name: string;
  vcpus: number;
  memoryGiB: number;
  arch: "x64" | "arm64";
  gpus?: { count: number; name: string } | undefined;
  /** Takes an Elastic Fabric Adapter. */
  efa?: boolean | undefined;
  /** US dollars in us-east-1; `undefined` where it is not known. */
  hourlyCost?: number | undefined;
  /** What the user's file says a region asks, in US dollars; it goes before what is reckoned. */
  regionalCosts?: Readonly<Record<string, number>> | undefined;
}

/** When the prices of the table were AWS's, as far as they were. */
export const PRICES_AS_OF = "2025-08";

type Row = readonly [
  name: string,
  vcpus: number,
  memoryGiB: number,
  hourlyCost: number,
  gpus?: readonly [count: number, name: string],
  efa?: "efa",
];

const ROWS: readonly Row[] = [
  ["t3.micro", 2, 1, 0.0104],
  ["t3.medium", 2, 4, 0.0416],
  ["t3.large", 2, 8, 0.0832],
  ["m5.large", 2, 8, 0.096],
  ["m5.xlarge", 4, 16, 0.192],
  ["m6i.large", 2, 8, 0.096],
  ["m6i.xlarge", 4, 16, 0.192],
  ["m6a.large", 2, 8, 0.0864],
  ["m7i.large", 2, 8, 0.1008],
  ["m7i.xlarge", 4, 16, 0.2016],
  ["c5.9xlarge", 36, 72, 1.53],
  ["c6i.8xlarge", 32, 64, 1.36],
  ["c7i.8xlarge", 32, 64, 1.428],
  ["m5.8xlarge", 32, 128, 1.536],
  ["m6i.8xlarge", 32, 128, 1.536],
  ["m7i.8xlarge", 32, 128, 1.6128],
  ["g4dn.xlarge", 4, 16, 0.526, [1, "T4"]],
  ["g4dn.2xlarge", 8, 32, 0.752, [1, "T4"]],
  ["g4dn.4xlarge", 16, 64, 1.204, [1, "T4"]],
  ["g4dn.12xlarge", 48, 192, 3.912, [4, "T4"]],
  ["g5.xlarge", 4, 16, 1.006, [1, "A10G"]],
  ["g5.2xlarge", 8, 32, 1.212, [1, "A10G"]],
  ["g5.4xlarge", 16, 64, 1.624, [1, "A10G"]],
  ["g5.12xlarge", 48, 192, 5.672, [4, "A10G"]],
  ["g5.48xlarge", 192, 768, 16.288, [8, "A10G"], "efa"],
  ["g6.xlarge", 4, 16, 0.8048, [1, "L4"]],
  ["g6.2xlarge", 8, 32, 0.9776, [1, "L4"]],
  ["g6.4xlarge", 16, 64, 1.3232, [1, "L4"]],
  ["g6.12xlarge", 48, 192, 4.6016, [4, "L4"]],
  ["g6.48xlarge", 192, 768, 13.3504, [8, "L4"], "efa"],
  ["g6e.xlarge", 4, 32, 1.861, [1, "L40S"]],
  ["p3.2xlarge", 8, 61, 3.06, [1, "V100"]],
  ["p4d.24xlarge", 96, 1152, 21.9576, [8, "A100"], "efa"],
  ["p4de.24xlarge", 96, 1152, 27.447, [8, "A100"], "efa"],
  ["p5.4xlarge", 16, 256, 6.88, [1, "H100"], "efa"],
  ["p5.48xlarge", 192, 2048, 55.04, [8, "H100"], "efa"],
];

export const INSTANCE_TYPES: ReadonlyMap<string, InstanceType> = new Map(
  ROWS.map(([name, vcpus, memoryGiB, hourlyCost, gpus, efa]) => [
    name,
    {
      name,
      vcpus,
      memoryGiB,
      arch: "x64" as const,
      hourlyCost,
      ...(gpus ? { gpus: { count: gpus[0], name: gpus[1] } } : {}),
      ...(efa ? { efa: true } : {}),
    },
  ]),
);

/** What a region asks for what costs 1 in us-east-1, rounded up; where it is not listed, 1.25. */
const REGION_FACTORS: Readonly<Record<string, number>> = {
  "us-east-1": 1,
  "us-east-2": 1,
  "us-west-2": 1,
  "us-west-1": 1.2,
  "ca-central-1": 1.12,
  "eu-west-1": 1.12,
  "eu-west-2": 1.17,
  "eu-west-3": 1.17,
  "eu-central-1": 1.25,
  "eu-north-1": 1.07,
  "ap-south-1": 1.1,
  "ap-northeast-1": 1.36,
  "ap-northeast-2": 1.23,
  "ap-southeast-1": 1.25,
  "ap-southeast-2": 1.3,
  "sa-east-1": 1.6,
};
const OTHER_REGIONS = 1.25;

/** US dollars an hour on demand, or `undefined` when the type's price is not known. */
export function onDemandPrice(type: InstanceType, region: string): number | undefined {
  const said = type.regionalCosts?.[region];
  if (said !== undefined) return said;
  if (type.hourlyCost === undefined) return undefined;
  return round(type.hourlyCost * (REGION_FACTORS[region] ?? OTHER_REGIONS));
}

/** To a hundredth of a cent. */
function round(dollars: number): number {
  return Math.round(dollars * 1e4) / 1e4;
}
