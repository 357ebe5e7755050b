/**
 * The schema of hawser.yaml and of every option that describes a volume.
 *
 * One zod schema gives the types, the validation, the defaults, the JSON Schema for editors and docs/CONFIG.md. A
 * volume given by flags goes through the same schema as one from a file, so that both know the same words and the
 * same mistakes. Unknown keys are refused everywhere.
 */
import { z } from "zod";
import { poolSchema } from "./pool.ts";
import { TASK_KEYS } from "./task.ts";
import {
  absolutePath,
  bucket,
  count,
  duration,
  endpoint,
  flag,
  metadataTtl,
  permissions,
  prefix,
  size,
  tags,
  userId,
} from "./values.ts";

export const STORAGE_KINDS = ["s3", "r2", "gcs", "wasabi", "b2", "minio"] as const;
export const CHANNEL_KINDS = ["native", "fuse-native"] as const;

/** How requests are signed. Keys given here are used from memory only; name a profile where you can. */
const credentials = z
  .union(
    [
      z.enum(["default", "environment", "anonymous"]),
      z.strictObject({ profile: z.string().min(1) }),
      z.strictObject({
        accessKeyId: z.string().min(1),
        secretAccessKey: z.string().min(1),
        sessionToken: z.string().min(1).optional(),
      }),
    ],
    "must be default, environment, anonymous, { profile: NAME }, or { accessKeyId: ${…}, secretAccessKey: ${…} }",
  )
  .meta({
    description:
      "Where credentials come from: the AWS chain (default), the environment alone, none (anonymous), a named profile, or keys, which belong in ${VARIABLES} and not in the file.",
  });

const cache = z
  .strictObject({
    dir: absolutePath.optional().meta({
      description:
        "Folder of the disk cache, on a local disk; each volume gets a subfolder of its own. Without it, content is kept in memory alone.",
    }),
    size: size.optional().meta({
      description: "Most bytes of this volume kept on disk, e.g. 50GiB. Default: bounded by keepFree alone.",
    }),
    keepFree: size
      .optional()
      .meta({ description: "Free space that the cache leaves on its disk. Default: a tenth of the disk." }),
    memory: size.optional().meta({
      description:
        "Hard ceiling for content in memory. Default: an eighth of the machine's memory, at most 1GiB.",
    }),
  })
  .meta({ description: "Where and how much content is kept." });

const staging = z
  .strictObject({
    dir: absolutePath.optional().meta({
      description:
        "Folder on a local disk for what was written and is not in the bucket yet; each volume gets a subfolder of its own. Default: the cache folder's name with -staging behind it, else below the state folder.",
    }),
    size: size.optional().meta({
      description:
        "Bytes waiting for their upload above which opening, writing and closing files waits. Default: 100GiB.",
    }),
    keepFree: size
      .optional()
      .meta({ description: "Free space that is left on the staging disk. Default: 512MiB." }),
  })
  .meta({ description: "Writable volumes: where files wait for their upload." });

const objects = z
  .strictObject({
    storageClass: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]*$/, "must be a storage class such as STANDARD_IA")
      .optional()
      .meta({ description: "Storage class of new objects. Default: the bucket's." }),
    encryption: z
      .enum(["AES256", "aws:kms"], "must be AES256 or aws:kms")
      .optional()
      .meta({ description: "Encryption at rest of new objects. Default: the bucket's." }),
    kmsKeyId: z
      .string()
      .min(1)
      .optional()
      .meta({ description: "The KMS key of new objects, with encryption aws:kms." }),
    acl: z
      .string()
      .regex(/^[a-z][a-z-]*$/, "must be a canned ACL such as bucket-owner-full-control")
      .optional()
      .meta({ description: "Canned ACL of new objects. Default: none is sent." }),
    tags: tags.optional().meta({ description: "Tags of new objects, at most ten." }),
  })
  .meta({ description: "Writable volumes: what goes with every new object." });

const checkpoints = z
  .strictObject({
    keepLast: count.optional().meta({ description: "Keep the newest so many of each run." }),
    keepEvery: count.optional().meta({ description: "Keep each step that is a multiple of this." }),
  })
  .refine(({ keepLast, keepEvery }) => keepLast !== undefined || keepEvery !== undefined, {
    error: "must say keepLast or keepEvery",
  })
  .meta({
    description:
      "Writable volumes: which checkpoints stay; the others are removed from the bucket when a newer one was uploaded. See CHECKPOINTS.md.",
  });

export const volumeSchema = z.strictObject({
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
      "must be 1 to 63 letters, digits, dots, dashes or underscores",
    )
    .optional()
    .meta({ description: "What commands call this volume. Default: the last part of its mount path." }),
  bucket: bucket.meta({ description: "The bucket's name." }),
  prefix: prefix.default("").meta({
    description:
      "The folder in the bucket; `imagenet` never matches `imagenet-old/`. Default: the whole bucket.",
  }),
  mount: absolutePath.meta({ description: "Absolute path of an existing folder where the volume appears." }),
  mode: z
    .enum(["read-only", "writable"], "must be read-only or writable")
    .default("read-only")
    .meta({ description: "Whether files can be changed." }),
  storage: z
    .enum(STORAGE_KINDS, `must be one of ${STORAGE_KINDS.join(", ")}`)
    .optional()
    .meta({
      description: "The kind of store: fills in endpoint, addressing and what the store can do. Default: s3.",
    }),
  region: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/, "must be a region such as eu-central-1")
    .optional()
    .meta({
      description:
        "The bucket's region. Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, then us-east-1; a wrong one is corrected.",
    }),
  endpoint: endpoint.optional().meta({ description: "URL of the store, for stores other than AWS." }),
  addressing: z.enum(["virtual", "path"], "must be virtual or path").optional().meta({
    description:
      "Whether the bucket's name goes into the host or into the path. Default: what the kind of store wants.",
  }),
  accountId: z
    .string()
    .regex(/^[A-Za-z0-9]+$/, "must be letters and digits")
    .optional()
    .meta({ description: "The account whose endpoint is used, for r2. Default: CLOUDFLARE_ACCOUNT_ID." }),
  credentials: credentials.optional(),
  requesterPays: flag
    .optional()
    .meta({ description: "Accept to be charged for requests to somebody else's bucket." }),
  cache: cache.default({}),
  prefetch: flag.optional().meta({
    description:
      "Fetch what readers are likely to want next, within files and across them, before they ask. Default: true.",
  }),
  warm: flag.optional().meta({
    description:
      "Fetch the whole volume into the cache in the background once it is mounted. Default: false.",
  }),
  metadataTtl: metadataTtl.optional().meta({
    description:
      "How long a listing is believed, e.g. 60s; `static` when nobody changes the bucket. Default: 60s.",
  }),
  metadata: z.enum(["listing", "full"], "must be listing or full").optional().meta({
    description:
      "listing: size and time from listings, owner and mode by option. full: mode, owner, mtime and links from object metadata, one HEAD an unknown name. Default: listing for read-only, full for writable.",
  }),
  staging: staging.optional(),
  earlyUpload: size.optional().meta({
    description: "Size above which a file's parts are sent while it is still being written. Default: 4GiB.",
  }),
  fsync: z
    .enum(["bucket", "local"], "must be bucket or local")
    .optional()
    .meta({ description: "Where bytes are when fsync returns. Default: bucket." }),
  onClose: z
    .enum(["local", "bucket"], "must be local or bucket")
    .optional()
    .meta({ description: "Where bytes are when close returns. Default: local." }),
  publish: z.enum(["ordered", "any"], "must be ordered or any").optional().meta({
    description:
      "ordered: a file closed after a larger one in its folder becomes visible after it. any: as soon as it is uploaded. Default: ordered.",
  }),
  objects: objects.optional(),
  checkpoints: checkpoints.optional(),
  uid: userId.optional().meta({ description: "Owner of files that carry none. Default: who mounts." }),
  gid: userId.optional().meta({ description: "Group of files that carry none. Default: who mounts." }),
  umask: permissions.optional().meta({
    description:
      "Permission bits taken from 0666 for files and 0777 for folders where fileMode and dirMode are absent.",
  }),
  fileMode: permissions.optional().meta({
    description:
      "Permissions of files that carry none, e.g. 0755 to run programs from the volume. Default: 0644.",
  }),
  dirMode: permissions
    .optional()
    .meta({ description: "Permissions of folders that carry none. Default: 0755." }),
  allowOther: flag
    .optional()
    .meta({ description: "Let all users of this machine in. Default: only who mounted." }),
  nonempty: flag
    .optional()
    .meta({ description: "Mount over a folder that has content, which is hidden meanwhile." }),
  channel: z
    .enum(CHANNEL_KINDS, "must be native or fuse-native")
    .optional()
    .meta({ description: "What carries requests to and from the kernel. Default: native." }),
  passthrough: flag
    .optional()
    .meta({ description: "Let the kernel read cached files itself where it can. Default: true." }),
  unmountTimeout: duration
    .optional()
    .meta({ description: "How long a stop waits for open files before it detaches them. Default: 5s." }),
});

export const fileSchema = z.strictObject({
  volumes: z
    .array(volumeSchema, "must be a list of volumes")
    .min(1, "must name at least one volume")
    .optional()
    .meta({
      description: "The volumes that `hawser mount --config` mounts here, and `hawser pool` on every node.",
    }),
  pool: poolSchema.optional().meta({ description: "The machines that `hawser pool` starts or uses." }),
  ...TASK_KEYS,
});

/** A volume as written: what `mount()` takes. */
export type VolumeInput = z.input<typeof volumeSchema>;
/** A volume with every value parsed. */
export type VolumeConfig = z.output<typeof volumeSchema>;
/** Where credentials come from, as configured. */
export type CredentialsConfig = NonNullable<VolumeConfig["credentials"]>;
export type StorageKind = (typeof STORAGE_KINDS)[number];

/** The JSON Schema of hawser.yaml, for editors. */
export function jsonSchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(fileSchema, { io: "input" }),
    title: "hawser.yaml",
  };
}
