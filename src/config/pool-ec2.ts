/** The keys of `pool:` for instances of EC2. */
import { z } from "zod";
import { bucket, flag, prefix, size } from "./values.ts";

export const ALLOCATIONS = ["spot", "on-demand", "spot-if-available", "cheapest"] as const;

const money = z
  .union([z.string(), z.number()], "must be an amount in US dollars such as 12 or 1.50")
  .transform((value) => Number(value))
  .refine(
    (value) => Number.isFinite(value) && value > 0,
    "must be an amount in US dollars such as 12 or 1.50",
  );

const id = (kind: string) =>
  z.string().regex(new RegExp(`^${kind}-[0-9a-f]+$`), `must be an id such as ${kind}-0123abcd`);

const cidr = z
  .string()
  .regex(/^\d{1,3}(?:\.\d{1,3}){3}\/\d{1,2}$/, "must be a range of addresses such as 203.0.113.7/32");

const portNumber = z
  .union([z.string(), z.int()], "must be a port such as 8080")
  .transform((value) => Number(value))
  .refine((value) => Number.isInteger(value) && value > 0 && value < 65_536, "must be a port such as 8080");

const access = z.strictObject({
  bucket,
  prefix: prefix.default(""),
  mode: z.enum(["read-only", "writable"], "must be read-only or writable").default("read-only"),
});

/** Keys that begin like this are Amazon's or ours. */
const tagKey = z
  .string()
  .regex(
    /^(?!aws:|hawser:|Name$)[\w .:/=+@-]{1,128}$/,
    "must be a tag's key, without aws: or hawser: in front",
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
  ami: z
    .union(
      [
        z.enum(["ubuntu", "amazon-linux", "deep-learning"]),
        id("ami"),
        z.string().regex(/^\/[A-Za-z0-9._/-]+$/),
      ],
      "must be ubuntu, amazon-linux, deep-learning, an id such as ami-0123abcd, or the name of an SSM parameter",
    )
    .optional()
    .meta({
      description:
        "Image: ubuntu, amazon-linux, deep-learning, an id, or the name of a public SSM parameter. Default: ubuntu; deep-learning on GPU types.",
    }),
  address: z
    .enum(["public", "private"], "must be public or private")
    .optional()
    .meta({ description: "Which address of a node is connected to. Default: public." }),
  callerAddress: cidr.optional().meta({
    description:
      "Who may log in to the nodes. Default: this machine's address as Amazon sees it; with address: private, the VPC's own ranges.",
  }),
  vpc: id("vpc")
    .optional()
    .meta({ description: "Default: the subnets' own, else the region's default VPC." }),
  subnets: z
    .array(id("subnet"), "must be a list of subnets")
    .min(1, "must name at least one subnet")
    .optional()
    .meta({ description: "Where nodes may be. Default: every subnet of the VPC." }),
  securityGroups: z
    .array(id("sg"), "must be a list of security groups")
    .min(1, "must name at least one group")
    .optional()
    .meta({ description: "Groups that exist, besides the pool's own." }),
  ports: z
    .array(
      z.strictObject({
        port: portNumber,
        from: z
          .union([z.literal("caller"), cidr], "must be caller or a range of addresses")
          .default("caller"),
      }),
      "must be a list of { port, from }",
    )
    .optional()
    .meta({ description: "Ports of the nodes that are open, and to whom: caller or a range of addresses." }),
  keyPair: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "A key pair of EC2 to let in as well; its private key is ssh.identityFile." }),
  instanceProfile: z.string().min(1).optional().meta({
    description:
      "Name or ARN of an instance profile. Default: auto, one is made that may use the volumes and access, and nothing else.",
  }),
  access: z
    .array(access, "must be a list of { bucket, prefix, mode }")
    .optional()
    .meta({ description: "What the job uses besides the volumes, for the instance profile that is made." }),
  rootVolumeSize: size.optional().meta({ description: "Default: 100 GiB." }),
  kmsKey: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "Key that encrypts the root volumes. Default: the account's own for EBS." }),
  efa: flag.optional().meta({
    description:
      "Elastic Fabric Adapters among the nodes. Default: with several nodes of types that take them.",
  }),
  placementGroup: flag.optional().meta({
    description: "A placement group of the pool's own, so that nodes are near each other. Default: with efa.",
  }),
  sameZone: flag.optional().meta({
    description: "All nodes of one type in one zone. Default: with several nodes of a type that takes EFA.",
  }),
  tags: z
    .record(tagKey, z.string().max(256))
    .refine((all) => Object.keys(all).length <= 40, "must be 40 tags at most")
    .optional()
    .meta({ description: "Tags of the user's, on everything that is made." }),
} as const;
