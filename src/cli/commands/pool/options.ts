/** The options that describe a pool, as other words for the keys of hawser.yaml: they go through the same schema. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { HawserError } from "../../../common/errors.ts";
import { formatPath } from "../../../config/explain.ts";
import type { KeyPath } from "../../../config/explain.ts";
import { loadConfig } from "../../../config/file.ts";
import { parsePoolRequest } from "../../../config/request.ts";
import { parseS3Url } from "../../../config/volume.ts";
import { PoolFolder, poolRoot } from "../../../launch/pool-folder.ts";
import { requestFromFile } from "../../../launch/pool.ts";
import type { PoolRequest } from "../../../launch/pool.ts";
import type { Arguments, Option } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { parseInput, parseOutput } from "../../transfer-texts.ts";

interface PoolOption extends Option {
  key: KeyPath;
  sets?: unknown;
  /** Several values, separated by commas. */
  many?: boolean;
}

const POOL = "Pool";

export const POOL_OPTIONS = {
  config: {
    key: [],
    type: "string",
    alias: "c",
    value: "FILE",
    describe: "hawser.yaml (the one in this folder)",
    group: POOL,
  },
  name: { key: ["pool", "name"], type: "string", value: "NAME", describe: "Name of the pool", group: POOL },
  hosts: {
    key: ["pool", "hosts"],
    type: "string",
    value: "HOST,…",
    many: true,
    describe: "Machines that exist",
    group: POOL,
  },
  nodes: { key: ["pool", "nodes"], type: "string", value: "N", describe: "Number of machines", group: POOL },
  preset: {
    key: ["pool", "preset"],
    type: "string",
    value: "PRESET",
    describe: "Kind of machine, e.g. gpu-a10",
    group: POOL,
  },
  "instance-types": {
    key: ["pool", "instanceTypes"],
    type: "string",
    value: "TYPE,…",
    many: true,
    describe: "Instance types, the preferred one first",
    group: POOL,
  },
  spot: {
    key: ["pool", "allocation"],
    sets: "spot",
    type: "boolean",
    describe: "Spot instances",
    group: POOL,
  },
  region: {
    key: ["pool", "region"],
    type: "string",
    value: "REGION",
    describe: "Where instances run",
    group: POOL,
  },
  ttl: {
    key: ["pool", "ttl"],
    type: "string",
    value: "TIME",
    describe: "When the pool ends by itself, e.g. 8h",
    group: POOL,
  },
  idle: {
    key: ["pool", "idle"],
    type: "string",
    value: "TIME",
    describe: "End it after this long without use",
    group: POOL,
  },
  identity: {
    key: ["pool", "ssh", "identityFile"],
    type: "string",
    value: "FILE",
    describe: "Private key for SSH",
    group: POOL,
  },
  "known-hosts": {
    key: ["pool", "ssh", "knownHostsFile"],
    type: "string",
    value: "FILE",
    describe: "known_hosts file",
    group: POOL,
  },
  bastion: {
    key: ["pool", "ssh", "bastion"],
    type: "string",
    value: "HOST",
    describe: "Host to go through",
    group: POOL,
  },
  workdir: {
    key: ["workdir"],
    type: "string",
    value: "FOLDER",
    describe: "Folder to send to every node",
    group: POOL,
  },
  image: {
    key: ["image"],
    type: "string",
    value: "IMAGE",
    describe: "Run the job in this Docker image",
    group: POOL,
  },
  volume: {
    key: [],
    type: "strings",
    value: "s3://BUCKET[/PREFIX]:PATH[:rw]",
    describe: "Volume to mount on every node",
    group: POOL,
  },
  in: {
    key: [],
    type: "strings",
    value: "S3:PATH",
    describe: "Nodes fetch before: s3://bucket/prefix/:./data",
    group: POOL,
  },
  out: {
    key: [],
    type: "strings",
    value: "PATH:S3",
    describe: "Nodes push after: ./out:s3://bucket/prefix/{rank}/",
    group: POOL,
  },
  "include-logs": { key: [], type: "boolean", describe: "Push *.log and logs/ as well", group: POOL },
} as const satisfies Record<string, PoolOption>;

const ALL: Readonly<Record<string, PoolOption>> = POOL_OPTIONS;

/** `--json` of commands that tell what they do. */
export const JSON_OPTION = {
  json: { type: "boolean", describe: "One JSON object a line" },
} as const satisfies Record<string, Option>;

/** `s3://bucket/prefix:/data:rw`. @throws HawserError `invalid_argument` */
export function volumeOption(text: string): Record<string, unknown> {
  const match = /^(s3:\/\/[^:]+):(\/[^:]*)(?::(ro|rw))?$/.exec(text);
  if (!match) {
    throw new HawserError(
      "invalid_argument",
      `--volume: '${text}' is not s3://BUCKET[/PREFIX]:PATH, with :rw behind it where it is written to.`,
    );
  }
  return { ...parseS3Url(match[1]!), mount: match[2]!, mode: match[3] === "rw" ? "writable" : "read-only" };
}

/** The pool that a command line describes: a file's, with what the options say differently; or of options alone. */
export function requestFrom(command: string, args: Arguments, environment: NodeJS.ProcessEnv): PoolRequest {
  const flags = rawPool(args);
  const configPath = args.text("config") ?? (existsSync("hawser.yaml") ? "hawser.yaml" : undefined);
  const job = args.rest.length > 0 ? { job: args.rest.length === 1 ? args.rest[0]! : args.rest } : {};
  const nameOf = (path: KeyPath): string => {
    const found = Object.entries(ALL).find(
      ([, { key }]) => key.length > 0 && formatPath(key) === formatPath(path),
    );
    return found ? `--${found[0]}` : formatPath(path);
  };
  if (configPath === undefined) {
    if (Object.keys(flags).length === 0) {
      throw usageError(
        `pool ${command}`,
        "There is no hawser.yaml here; name one with --config, or describe the pool with options",
      );
    }
    const raw: Record<string, unknown> = { ...flags, ...job };
    const pool = { name: "pool", ...(raw["pool"] as Record<string, unknown> | undefined) };
    return { ...parsePoolRequest({ ...raw, pool }, nameOf), baseFolder: process.cwd() };
  }
  const loaded = loadConfig(configPath, environment);
  const request = requestFromFile(loaded);
  if (Object.keys(flags).length === 0 && args.rest.length === 0) return request;
  const merged = parsePoolRequest({ ...flags, ...job }, nameOf, request);
  return { ...merged, baseFolder: request.baseFolder, configPath: request.configPath };
}

function rawPool(args: Arguments): Record<string, unknown> {
  const raw: Record<string, unknown> = {};
  for (const [name, { key, type, sets, many }] of Object.entries(ALL)) {
    if (key.length === 0) continue;
    if (type === "boolean") {
      if (args.flag(name)) put(raw, key, sets ?? true);
      continue;
    }
    const text = args.text(name);
    if (text === undefined) continue;
    put(raw, key, many ? text.split(",") : name === "workdir" ? resolve(text) : text);
  }
  const volumes = args.list("volume").map(volumeOption);
  const inputs = args.list("in").map(parseInput);
  const includeLogs = args.flag("include-logs");
  const outputs = args.list("out").map((text) => ({
    ...parseOutput(text),
    ...(includeLogs ? { includeLogs } : {}),
  }));
  if (includeLogs && outputs.length === 0)
    throw new HawserError(
      "invalid_argument",
      "--include-logs is about --out; in hawser.yaml write includeLogs.",
    );
  return {
    ...raw,
    ...(volumes.length > 0 ? { volumes } : {}),
    ...(inputs.length > 0 ? { inputs } : {}),
    ...(outputs.length > 0 ? { outputs } : {}),
  };
}

function put(raw: Record<string, unknown>, [first, ...rest]: KeyPath, value: unknown): void {
  if (rest.length === 0) raw[first!] = value;
  else {
    raw[first!] ??= {};
    put(raw[first!] as Record<string, unknown>, rest, value);
  }
}

/** `NAME`, or `NAME/NODE`. */
export function poolAndNode(text: string): { name: string; node: string | undefined } {
  const at = text.indexOf("/");
  return at < 0 ? { name: text, node: undefined } : { name: text.slice(0, at), node: text.slice(at + 1) };
}

/**
 * The name of the pool that a command is about: what was typed, else the file's, else the only one there is.
 *
 * @throws HawserError `invalid_argument`
 */
export function poolName(command: string, args: Arguments, environment: NodeJS.ProcessEnv): string {
  const [given] = args.positionals;
  if (given !== undefined) return given;
  const path = args.text("config") ?? (existsSync("hawser.yaml") ? "hawser.yaml" : undefined);
  const ofFile = path === undefined ? undefined : loadConfig(path, environment).pool?.name;
  if (ofFile !== undefined) return ofFile;
  const names = PoolFolder.list(poolRoot(environment)).map(({ name }) => name);
  if (names.length === 1) return names[0]!;
  throw usageError(
    `pool ${command}`,
    `Say which pool: ${names.length === 0 ? "there is none" : names.join(", ")}`,
  );
}
