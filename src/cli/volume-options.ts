/**
 * The options that describe a volume, and which key of the schema each one sets.
 *
 * An option is only another way to write a key of hawser.yaml: its value goes through the same schema, and what is
 * wrong with it is said in the option's name.
 */
import { HawserError } from "../common/errors.ts";
import { defaultName } from "../config/file.ts";
import type { NamedVolume } from "../config/file.ts";
import { formatPath } from "../config/explain.ts";
import type { KeyPath } from "../config/explain.ts";
import { CHANNEL_KINDS } from "../config/schema.ts";
import type { VolumeConfig } from "../config/schema.ts";
import { parseS3Url, parseVolume } from "../config/volume.ts";
import { withoutWritingOptions } from "../config/writing-options.ts";
import type { Arguments } from "./command.ts";
import { STORE_OPTIONS } from "./store-options.ts";
import type { VolumeOption } from "./store-options.ts";

const CACHE = "Cache";
const FILES = "Files";
const WRITING = "Writing";

/** For commands that mount. */
export const MOUNT_OPTIONS = {
  "cache-dir": {
    key: ["cache", "dir"],
    type: "string",
    value: "FOLDER",
    describe: "Folder of the disk cache",
    group: CACHE,
  },
  "cache-size": {
    key: ["cache", "size"],
    type: "string",
    value: "SIZE",
    describe: "Most bytes kept on disk, e.g. 50GiB",
    group: CACHE,
  },
  "cache-keep-free": {
    key: ["cache", "keepFree"],
    type: "string",
    value: "SIZE",
    describe: "Free space to leave on the cache's disk",
    group: CACHE,
  },
  memory: {
    key: ["cache", "memory"],
    type: "string",
    value: "SIZE",
    describe: "Hard ceiling for content in memory",
    group: CACHE,
  },
  "metadata-ttl": {
    key: ["metadataTtl"],
    type: "string",
    value: "TIME",
    describe: "How long listings are believed: 60s, 15m, static",
    group: CACHE,
  },
  "no-prefetch": {
    key: ["prefetch"],
    sets: false,
    type: "boolean",
    describe: "Fetch nothing that was not asked for",
    group: CACHE,
  },
  warm: {
    key: ["warm"],
    type: "boolean",
    describe: "Fetch the whole volume in the background once it is mounted",
    group: CACHE,
  },
  metadata: {
    key: ["metadata"],
    type: "string",
    choices: ["listing", "full"],
    describe: "Where mode, owner and mtime come from",
    group: FILES,
  },
  uid: {
    key: ["uid"],
    type: "string",
    value: "UID",
    describe: "Owner of files that carry none",
    group: FILES,
  },
  gid: {
    key: ["gid"],
    type: "string",
    value: "GID",
    describe: "Group of files that carry none",
    group: FILES,
  },
  "file-mode": {
    key: ["fileMode"],
    type: "string",
    value: "MODE",
    describe: "Permissions of files, e.g. 0644",
    group: FILES,
  },
  "dir-mode": {
    key: ["dirMode"],
    type: "string",
    value: "MODE",
    describe: "Permissions of folders, e.g. 0755",
    group: FILES,
  },
  umask: {
    key: ["umask"],
    type: "string",
    value: "MASK",
    describe: "Permission bits to take away, e.g. 022",
    group: FILES,
  },
  "allow-other": {
    key: ["allowOther"],
    type: "boolean",
    describe: "Let all users of this machine in",
    group: FILES,
  },
  nonempty: { key: ["nonempty"], type: "boolean", describe: "Mount over a folder that has content" },
  channel: {
    key: ["channel"],
    type: "string",
    choices: CHANNEL_KINDS,
    describe: "What carries requests to and from the kernel",
  },
  "no-passthrough": {
    key: ["passthrough"],
    sets: false,
    type: "boolean",
    describe: "Do not let the kernel read cached files itself",
  },
  "staging-dir": {
    key: ["staging", "dir"],
    type: "string",
    value: "FOLDER",
    describe: "Where written files wait for their upload",
    group: WRITING,
  },
  "staging-size": {
    key: ["staging", "size"],
    type: "string",
    value: "SIZE",
    describe: "Bytes waiting above which writers wait too, e.g. 100GiB",
    group: WRITING,
  },
  "early-upload": {
    key: ["earlyUpload"],
    type: "string",
    value: "SIZE",
    describe: "Send files above this while they are being written",
    group: WRITING,
  },
  fsync: {
    key: ["fsync"],
    type: "string",
    choices: ["bucket", "local"],
    describe: "Where bytes are when fsync returns",
    group: WRITING,
  },
  "on-close": {
    key: ["onClose"],
    type: "string",
    choices: ["local", "bucket"],
    describe: "Where bytes are when close returns",
    group: WRITING,
  },
  publish: {
    key: ["publish"],
    type: "string",
    choices: ["ordered", "any"],
    describe: "Whether files become visible in the order they were closed",
    group: WRITING,
  },
  "storage-class": {
    key: ["objects", "storageClass"],
    type: "string",
    value: "CLASS",
    describe: "Storage class of new objects",
    group: WRITING,
  },
  sse: {
    key: ["objects", "encryption"],
    type: "string",
    choices: ["AES256", "aws:kms"],
    describe: "Encryption at rest of new objects",
    group: WRITING,
  },
  "sse-kms-key-id": {
    key: ["objects", "kmsKeyId"],
    type: "string",
    value: "KEY",
    describe: "KMS key of new objects",
    group: WRITING,
  },
  acl: {
    key: ["objects", "acl"],
    type: "string",
    value: "ACL",
    describe: "Canned ACL of new objects",
    group: WRITING,
  },
  tags: {
    key: ["objects", "tags"],
    type: "string",
    value: "TAGS",
    describe: "Tags of new objects: KEY=VALUE,KEY=VALUE",
    group: WRITING,
  },
  "unmount-timeout": {
    key: ["unmountTimeout"],
    type: "string",
    value: "TIME",
    describe: "How long a stop waits for open files",
  },
} as const satisfies Record<string, VolumeOption>;

const ALL: Readonly<Record<string, VolumeOption>> = { ...STORE_OPTIONS, ...MOUNT_OPTIONS };

/** What the options given say, as keys of the schema. @throws HawserError `invalid_argument` when two contradict */
export function rawVolume(args: Arguments): Record<string, unknown> {
  const raw: Record<string, unknown> = {};
  for (const [name, { key, type, sets }] of Object.entries(ALL)) {
    const value = type === "boolean" ? (args.flag(name) ? (sets ?? true) : undefined) : args.text(name);
    if (value !== undefined) setAt(raw, key, value, name);
  }
  return raw;
}

function setAt(raw: Record<string, unknown>, [first, second]: KeyPath, value: unknown, option: string): void {
  const present = raw[first!];
  if (second === undefined) {
    if (present !== undefined)
      throw new HawserError(
        "invalid_argument",
        `--${option} and --profile contradict each other; give one of them.`,
      );
    raw[first!] = value;
    return;
  }
  raw[first!] = { ...(present as Record<string, unknown> | undefined), [second]: value };
}

/** The option that sets a key, as the user types it. */
function optionFor(path: KeyPath): string {
  const text = formatPath(path);
  const found = Object.entries(ALL).find(([, { key }]) => formatPath(key) === text);
  if (found) return `--${found[0]}`;
  if (text === "mount") return "mount point";
  return text === "bucket" || text === "prefix" ? `source (${text})` : text;
}

/** A volume from `s3://bucket/prefix PATH` and options. */
export function volumeFromFlags(
  source: string,
  mount: string,
  args: Arguments,
  more: Record<string, unknown> = {},
): NamedVolume {
  const volume = parseVolume({ ...rawVolume(args), ...more, ...parseS3Url(source), mount }, optionFor);
  return { ...volume, name: volume.name ?? defaultName(volume.mount) };
}

/** A volume of a file with what the options say differently. */
export function withFlags(
  volume: NamedVolume,
  args: Arguments,
  more: Record<string, unknown> = {},
): NamedVolume {
  const raw = { ...rawVolume(args), ...more };
  if (Object.keys(raw).length === 0) return volume;
  const { bucket, mount, mode } = volume;
  const parsed: VolumeConfig = parseVolume({ bucket, mount, mode, ...raw }, optionFor);
  const given = Object.fromEntries(Object.entries(parsed).filter(([key]) => key in raw));
  const merged = { ...volume, ...given, cache: { ...volume.cache, ...parsed.cache } };
  if (parsed.staging) merged.staging = { ...volume.staging, ...parsed.staging };
  if (parsed.objects) merged.objects = { ...volume.objects, ...parsed.objects };
  // `--read-only` beside a writable volume's file is meant.
  return merged.mode === "read-only" ? withoutWritingOptions(merged) : merged;
}
