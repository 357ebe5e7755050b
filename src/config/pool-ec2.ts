/** The keys of `pool:` for instances of EC2. */
import { z } from "zod";

export const ALLOCATIONS = ["spot", "on-demand", "spot-if-available", "cheapest"] as const;

const money = z
  .union([z.string(), z.number()], "must be an amount in US dollars such as 12 or 1.50")
  .transform((value) => Number(value))
  .refine(
    (value) => Number.isFinite(value) && value > 0,
    "must be an amount in US dollars such as 12 or 1.50",
  );

export const EC2_KEYS = {
  preset: z.string().min(1).optional().meta({
    description: "A named set of instance types with fallbacks, e.g. gpu-a10; see `hawser ec2 presets`.",
  }),
  instanceTypes: z
    .array(
      z.string().regex(/^[a-z0-9-]+\.[a-z0-9-]+$/, "must be an instance type such as g5.xlarge"),
      "must be a list of instance types",
    )
    .min(1, "must name at least one instance type")
    .optional()
    .meta({ description: "Instance types in the order of preference." }),
  allocation: z
    .enum(ALLOCATIONS, `must be one of ${ALLOCATIONS.join(", ")}`)
    .optional()
    .meta({ description: "Default: on-demand." }),
  maxHourlyCost: money
    .optional()
    .meta({ description: "Most US dollars an hour for the whole pool; dearer offers are skipped." }),
  region: z
    .string()
    .regex(/^[a-z]{2}(?:-[a-z]+)+-\d$/, "must be a region such as eu-central-1")
    .optional()
    .meta({ description: "Where instances run. Default: the volumes' region." }),
} as const;
