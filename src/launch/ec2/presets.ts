/**
 * Presets: names for sets of instance types that do the same work, the preferred one first.
 *
 * A file of the user's adds to them and replaces those of the same name: $HAWSER_PRESETS, else
 * `hawser/presets.yaml` in $XDG_CONFIG_HOME, which is ~/.config.
 *
 * ```yaml
 * presets:
 *   team-gpu: { description: What we train on, instanceTypes: [g6e.xlarge, g5.2xlarge] }
 * types:                      # prices, and types that Hawser does not know
 *   g6e.2xlarge: { hourlyCost: 2.24, vcpus: 8, memoryGiB: 64, gpus: { count: 1, name: L40S } }
 * prices:                     # of regions, which are reckoned otherwise
 *   eu-central-1: { g5.xlarge: 1.258 }
 * pricesAsOf: 2026-10         # what a plan says of them
 * ```
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { HawserError } from "../../common/errors.ts";
import type { Environment } from "../../config/interpolate.ts";
import { didYouMean } from "../../config/suggest.ts";
import { INSTANCE_TYPES, PRICES_AS_OF } from "./instance-types.ts";
import type { InstanceType } from "./instance-types.ts";

export interface Preset {
  name: string;
  description: string;
  /** The preferred one first. */
  instanceTypes: readonly string[];
}

const SHIPPED: readonly Preset[] = [
  {
    name: "cpu-small",
    description: "2 CPUs, 8 GiB: scripts and tests",
    instanceTypes: ["m6i.large", "m5.large", "m7i.large", "m6a.large"],
  },
  {
    name: "cpu-large",
    description: "32 CPUs: data processing",
    instanceTypes: ["c6i.8xlarge", "c7i.8xlarge", "m6i.8xlarge", "m5.8xlarge"],
  },
  {
    name: "gpu-t4",
    description: "1 T4, 16 GB: inference, small models",
    instanceTypes: ["g4dn.xlarge", "g4dn.2xlarge", "g4dn.4xlarge"],
  },
  {
    name: "gpu-a10",
    description: "1 A10G, 24 GB: fine-tuning",
    instanceTypes: ["g5.xlarge", "g5.2xlarge", "g5.4xlarge"],
  },
  {
    name: "gpu-l4",
    description: "1 L4, 24 GB: inference, fine-tuning",
    instanceTypes: ["g6.xlarge", "g6.2xlarge", "g6.4xlarge"],
  },
  { name: "gpu-a100", description: "8 A100: training", instanceTypes: ["p4d.24xlarge", "p4de.24xlarge"] },
  { name: "gpu-h100", description: "8 H100: training", instanceTypes: ["p5.48xlarge"] },
];

const typeSchema = z.strictObject({
  hourlyCost: z.number().positive().optional(),
  vcpus: z.int().positive().optional(),
  memoryGiB: z.number().positive().optional(),
  arch: z.enum(["x64", "arm64"]).optional(),
  gpus: z.strictObject({ count: z.int().positive(), name: z.string().min(1) }).optional(),
  efa: z.boolean().optional(),
});

const fileSchema = z.strictObject({
  presets: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]*$/, "a preset's name has small letters, digits and dashes"),
      z.strictObject({
        description: z.string().default(""),
        instanceTypes: z.array(z.string().regex(/^[a-z0-9-]+\.[a-z0-9-]+$/)).min(1),
      }),
    )
    .optional(),
  types: z.record(z.string(), typeSchema).optional(),
  prices: z.record(z.string(), z.record(z.string(), z.number().positive())).optional(),
  pricesAsOf: z
    .string()
    .regex(/^\d{4}-\d{2}(?:-\d{2})?$/, "must be a month or a day such as 2026-10")
    .optional(),
});

/** What is known of machines: shipped, and what the user's file adds. */
export interface Catalogue {
  presets: ReadonlyMap<string, Preset>;
  types: ReadonlyMap<string, InstanceType>;
  /** Types whose price is the user's, and since when it holds where that is said. */
  ownPrices: { types: ReadonlySet<string>; asOf: string | undefined; path: string };
}

export function presetsPath(environment: Environment): string {
  return (
    environment["HAWSER_PRESETS"] ??
    join(
      environment["XDG_CONFIG_HOME"] ?? join(environment["HOME"] ?? homedir(), ".config"),
      "hawser",
      "presets.yaml",
    )
  );
}

/** @throws HawserError `config_invalid` when the user's file is not right, `config_not_found` when a named one is missing */
export function loadCatalogue(environment: Environment): Catalogue {
  const path = presetsPath(environment);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && !environment["HAWSER_PRESETS"]) {
      return extendCatalogue("", path);
    }
    throw new HawserError("config_not_found", `${path} cannot be read; HAWSER_PRESETS names it.`, {
      cause: error,
    });
  }
  return extendCatalogue(text, path);
}

/** The shipped catalogue with a user's text added; `path` is for messages. @throws HawserError `config_invalid` */
export function extendCatalogue(text: string, path: string): Catalogue {
  const presets = new Map(SHIPPED.map((preset) => [preset.name, preset]));
  const types = new Map(INSTANCE_TYPES);
  const own = new Set<string>();
  let raw: unknown;
  try {
    raw = parse(text) ?? {};
  } catch (error) {
    throw new HawserError("config_invalid", `${path}: ${error instanceof Error ? error.message : "no YAML"}`);
  }
  const read = fileSchema.safeParse(raw);
  if (!read.success) {
    throw new HawserError(
      "config_invalid",
      read.error.issues.map(({ path: at, message }) => `${path}: ${at.join(".")}: ${message}`).join("\n"),
    );
  }
  for (const [name, preset] of Object.entries(read.data.presets ?? {}))
    presets.set(name, { name, ...preset });
  for (const [name, added] of Object.entries(read.data.types ?? {})) {
    const known = types.get(name) ?? { name, vcpus: 0, memoryGiB: 0, arch: "x64" as const };
    const given = Object.fromEntries(Object.entries(added).filter(([, value]) => value !== undefined));
    types.set(name, { ...known, ...given });
    if (added.hourlyCost !== undefined) own.add(name);
  }
  for (const [region, prices] of Object.entries(read.data.prices ?? {})) {
    for (const [name, price] of Object.entries(prices)) {
      const known = types.get(name) ?? { name, vcpus: 0, memoryGiB: 0, arch: "x64" as const };
      types.set(name, { ...known, regionalCosts: { ...known.regionalCosts, [region]: price } });
      own.add(name);
    }
  }
  return { presets, types, ownPrices: { types: own, asOf: read.data.pricesAsOf, path } };
}

/** Where the on-demand prices of these types come from, and of when they are, for a plan. */
export function pricesSaid({ ownPrices }: Catalogue, names: readonly string[]): string {
  const { types, asOf, path } = ownPrices;
  const theirs = names.filter((name) => types.has(name));
  const table = `on demand as of ${PRICES_AS_OF} by Hawser's table, which is not AWS's bill`;
  const own = `${theirs.join(", ")}${asOf === undefined ? "" : ` as of ${asOf}`} by ${path}`;
  if (theirs.length === 0) return `${table}; ${path} replaces it`;
  return theirs.length === names.length ? own : `${own}; the others ${table}`;
}

/** @throws HawserError `invalid_argument` with the nearest name */
export function presetNamed(catalogue: Catalogue, name: string): Preset {
  const preset = catalogue.presets.get(name);
  if (preset) return preset;
  const names = [...catalogue.presets.keys()];
  throw new HawserError(
    "invalid_argument",
    `'${name}' is not a preset${didYouMean(name, names) || `; there are ${names.join(", ")}.`}`,
  );
}
