/**
 * The schema of `pool:`: which machines, for how long, and how patient the launcher is.
 *
 * Keys of one provider are in a file of its own (pool-hosts.ts, pool-ec2.ts) and spread in here, because a file says
 * them side by side.
 */
import { z } from "zod";
import { EC2_KEYS } from "./pool-ec2.ts";
import { HOSTS_KEYS } from "./pool-hosts.ts";
import { duration } from "./values.ts";

const MAX_NODES = 1024;

const nodeCount = z
  .union(
    [z.string(), z.int(), z.strictObject({ min: z.unknown(), max: z.unknown() })],
    "must be a number of nodes such as 4",
  )
  .transform((value, context) => {
    if (typeof value === "object") {
      context.issues.push({
        code: "custom",
        message: "a pool that grows and shrinks is not there yet; write a number of nodes.",
        input: value,
      });
      return z.NEVER;
    }
    const count = Number(value);
    if (Number.isInteger(count) && count >= 1 && count <= MAX_NODES) return count;
    context.issues.push({
      code: "custom",
      message: `'${value}' is not a number of nodes; write a number from 1 to ${MAX_NODES}.`,
      input: value,
    });
    return z.NEVER;
  });

const timeouts = z
  .strictObject({
    plan: duration
      .optional()
      .meta({ description: "Until the volumes were listed and machines were looked for. Default: 3m." }),
    provision: duration.optional().meta({ description: "Until all machines exist. Default: 10m." }),
    ssh: duration
      .optional()
      .meta({ description: "Until a machine can be logged in to. Default: 3m; hosts: 30s." }),
    bootstrap: duration.optional().meta({ description: "Until the worker is installed. Default: 10m." }),
    mount: duration.optional().meta({ description: "Until every volume answers. Default: 3m." }),
    task: duration.optional().meta({ description: "Until the job has ended. Default: as long as it takes." }),
  })
  .meta({ description: "How long each part may take." });

export const poolSchema = z.strictObject({
  name: z
    .string("must be a name")
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, "must be 1 to 40 small letters, digits and dashes")
    .meta({ description: "What commands call this pool." }),
  nodes: nodeCount
    .optional()
    .meta({ description: "How many machines. Default: 1; with hosts, all of them." }),
  ...HOSTS_KEYS,
  ...EC2_KEYS,
  ttl: duration.optional().meta({
    description: "When the pool is drained and ended, counted from its start, whoever still uses it.",
  }),
  idle: duration.optional().meta({
    description: "End the pool when it had no job, no login and idle GPUs for this long.",
  }),
  timeouts: timeouts.optional(),
});

/** A pool as written. */
export type PoolInput = z.input<typeof poolSchema>;
/** A pool with every value parsed. */
export type PoolConfig = z.output<typeof poolSchema>;
export type SshConfig = NonNullable<PoolConfig["ssh"]>;

/** What provides the machines of a pool. */
export type ProviderKind = "hosts" | "ec2";

export function providerOf(pool: PoolConfig): ProviderKind {
  return pool.hosts ? "hosts" : "ec2";
}

/** The nodes as far as they are known before there are any, in order of rank: hosts, or words that differ. */
export function nodeIds({ hosts, nodes = 1 }: PoolConfig): string[] {
  return hosts ?? Array.from({ length: nodes }, (_, rank) => `instance-${rank}`);
}

/** What does not go together, with the key it is said of. */
export function crossCheckPool(pool: PoolConfig): { path: string[]; message: string }[] {
  const problems: { path: string[]; message: string }[] = [];
  if (pool.hosts) {
    for (const key of Object.keys(EC2_KEYS) as (keyof typeof EC2_KEYS)[]) {
      if (pool[key] === undefined) continue;
      problems.push({
        path: [key],
        message: "does not go with hosts, which exist already; leave one of both away.",
      });
    }
    if (pool.nodes !== undefined && pool.nodes !== pool.hosts.length) {
      problems.push({
        path: ["nodes"],
        message: `is ${pool.nodes}, and hosts names ${pool.hosts.length}; leave nodes away.`,
      });
    }
    const twice = pool.hosts.find((host, i) => pool.hosts!.indexOf(host) !== i);
    if (twice !== undefined) problems.push({ path: ["hosts"], message: `'${twice}' is named twice.` });
  } else if (pool.preset === undefined && pool.instanceTypes === undefined) {
    problems.push({ path: [], message: "must say which machines: preset, instanceTypes or hosts." });
  } else if (pool.preset !== undefined && pool.instanceTypes !== undefined) {
    problems.push({ path: ["instanceTypes"], message: "does not go with preset; leave one of both away." });
  }
  return problems;
}
