/**
 * The schema of `inputs:` and `outputs:`: what is copied to a node before the job, and home after it.
 *
 * Nodes copy by themselves, straight from and to the bucket. `{rank}` and `{node}` stand for the node that copies; two
 * nodes never write to the same place, which is decided here, before anything is started.
 */
import { z } from "zod";
import { endpoint, flag } from "./values.ts";

const address = z
  .string("must be s3://BUCKET/PREFIX")
  .regex(/^s3:\/\/[^/\s]+(?:\/.*)?$/s, "must be s3://BUCKET/PREFIX");

const path = z
  .string("must be a path")
  .min(1, "must be a path")
  .refine((text) => !text.includes("\0") && !text.split("/").includes(".."), "must not go up by '..'");

const credentials = z
  .union(
    [z.enum(["default", "environment", "anonymous"]), z.strictObject({ profile: z.string().min(1) })],
    "must be default, environment, anonymous or { profile: NAME }",
  )
  .meta({
    description:
      "Where credentials come from: the AWS chain (default), the environment alone, none (anonymous), or a named profile.",
  });

const STORE = {
  storage: z
    .enum(["s3", "r2", "gcs", "wasabi", "b2", "minio"], "must be one of s3, r2, gcs, wasabi, b2, minio")
    .optional()
    .meta({ description: "The kind of store. Default: s3." }),
  region: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/, "must be a region such as eu-central-1")
    .optional()
    .meta({ description: "The bucket's region. Default: AWS_REGION; a wrong one is corrected." }),
  endpoint: endpoint.optional().meta({ description: "URL of the store, for stores other than AWS." }),
  addressing: z
    .enum(["virtual", "path"], "must be virtual or path")
    .optional()
    .meta({ description: "Whether the bucket's name goes into the host or into the path." }),
  accountId: z
    .string()
    .regex(/^[A-Za-z0-9]+$/, "must be letters and digits")
    .optional()
    .meta({ description: "The account whose endpoint is used, for r2." }),
  credentials: credentials.optional(),
  requesterPays: flag
    .optional()
    .meta({ description: "Accept to be charged for requests to somebody else's bucket." }),
} as const;

const globs = z.array(z.string().min(1), "must be a list of globs such as '*.tmp'").optional();

const input = z.strictObject({
  from: address.meta({
    description: "What to copy: s3://BUCKET/KEY for one object, s3://BUCKET/PREFIX/ for all below it.",
  }),
  to: path.meta({ description: "Where it goes on the node; relative paths are below the work folder." }),
  exclude: globs.meta({ description: "Globs of what to leave out." }),
  ...STORE,
});

const output = z.strictObject({
  from: path.meta({ description: "File or folder of the node; relative paths are below the work folder." }),
  to: address.meta({ description: "Where it goes: s3://BUCKET/PREFIX, with {rank} or {node} in it." }),
  exclude: globs.meta({ description: "Globs of what to leave out." }),
  includeLogs: flag
    .optional()
    .meta({ description: "Take *.log and logs/ as well, which are left out otherwise." }),
  ...STORE,
});

export const TRANSFER_KEYS = {
  inputs: z.array(input, "must be a list of { from, to }").optional().meta({
    description: "Copied to every node before setup, by the node itself. {rank} and {node} may be in paths.",
  }),
  outputs: z.array(output, "must be a list of { from, to }").optional().meta({
    description:
      "Copied to the bucket when the job has ended, also when it failed, by the node itself. {rank} and {node} may be in paths.",
  }),
} as const;

export type InputConfig = z.output<typeof input>;
export type OutputConfig = z.output<typeof output>;
export type TransferCredentials = z.output<typeof credentials>;

/** As a pool's configuration has them. */
export interface Transfers {
  inputs?: InputConfig[] | undefined;
  outputs?: OutputConfig[] | undefined;
}

/** Credentials that inputs and outputs use, each once, under the name that the launcher hands them over by. */
export function transferCredentials({
  inputs = [],
  outputs = [],
}: Transfers): { name: string; credentials: TransferCredentials | undefined }[] {
  const found = new Map<string, TransferCredentials | undefined>();
  for (const { credentials } of [...inputs, ...outputs]) found.set(credentialsName(credentials), credentials);
  return [...found].map(([name, credentials]) => ({ name, credentials }));
}

/** Told apart from a volume's name by its first letter. */
export function credentialsName(credentials: TransferCredentials = "default"): string {
  return `.transfer-${typeof credentials === "string" ? credentials : `profile-${Buffer.from(credentials.profile).toString("base64url")}`}`;
}

/** What `{node}` stands for: an instance's id, or a host as the pool names it, without user and port. */
export function nodeName(id: string): string {
  const host = id.slice(id.lastIndexOf("@") + 1);
  const bracketed = /^\[([^\]]+)\]/.exec(host);
  if (bracketed) return bracketed[1]!;
  return host.split(":").length === 2 ? host.slice(0, host.indexOf(":")) : host;
}

/** A path or address for one node. */
export function forNode(text: string, { rank, node }: { rank: number; node: string }): string {
  return text.replaceAll("{rank}", String(rank)).replaceAll("{node}", node);
}

/**
 * Places that two nodes would both write to, as mistakes with their keys.
 *
 * @param nodes ids in order of rank
 */
export function crossCheckTransfers(
  outputs: readonly Pick<OutputConfig, "to">[],
  nodes: readonly string[],
): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  const taken = new Map<string, number>();
  outputs.forEach(({ to }, i) => {
    for (const [rank, id] of nodes.entries()) {
      const target = forNode(to, { rank, node: nodeName(id) }).replace(/\/*$/, "/");
      const other = taken.get(target);
      if (other !== undefined && other !== rank) {
        problems.push({
          path: ["outputs", i, "to"],
          message: `nodes ${other} and ${rank} would both write to ${target}; put {rank} or {node} into it.`,
        });
        return;
      }
      taken.set(target, rank);
    }
  });
  return problems;
}
