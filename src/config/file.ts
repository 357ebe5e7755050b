/**
 * Reading hawser.yaml.
 *
 * The text is parsed once into a tree that knows its lines, variables are filled in value by value (never in the raw
 * text, so that a variable cannot add keys), then the schema checks the result. Every mistake is reported at once, each
 * with file, line and key. Numbers are taken as they were written: the schema, not YAML, decides what `0644` means.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { LineCounter, isMap, isScalar, isSeq, parseDocument } from "yaml";
import type { Document, Node, Pair } from "yaml";
import { HawserError } from "../common/errors.ts";
import { environmentBeside } from "./env-file.ts";
import { explain, formatPath } from "./explain.ts";
import type { KeyPath, Problem } from "./explain.ts";
import { interpolate } from "./interpolate.ts";
import type { Environment } from "./interpolate.ts";
import { overlaps, refusePath } from "./mount-path.ts";
import { crossCheckPool, nodeIds } from "./pool.ts";
import type { PoolConfig } from "./pool.ts";
import { fileSchema } from "./schema.ts";
import type { VolumeConfig } from "./schema.ts";
import { misplacedWritingOptions } from "./writing-options.ts";
import type { TaskConfig } from "./task.ts";
import { crossCheckTransfers } from "./transfers.ts";

/** A volume of a file: named always. */
export type NamedVolume = VolumeConfig & { name: string };

/** What a file says. */
export interface FileContent {
  /** None only where there is a pool. */
  volumes: NamedVolume[];
  pool: PoolConfig | undefined;
  /** What the pool does; paths as written. */
  task: TaskConfig;
}

export interface LoadedConfig extends FileContent {
  /** Absolute. */
  path: string;
  /** The environment with what `.env` beside the file adds. */
  environment: Environment;
}

/**
 * Reads and checks a file. Sends no request and looks at no mount point.
 *
 * @throws HawserError `config_not_found`, or `config_invalid` with one line for each mistake
 */
export function loadConfig(path: string, environment: Environment): LoadedConfig {
  const absolute = resolve(path);
  let text: string;
  try {
    text = readFileSync(absolute, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") {
      throw new HawserError("config_not_found", `${path} does not exist; name the file with --config FILE.`, {
        cause: error,
      });
    }
    throw new HawserError("config_invalid", `${path} cannot be read (${code}).`, { cause: error });
  }
  const merged = environmentBeside(absolute, environment);
  return { path: absolute, ...parseFile(text, path, merged), environment: merged };
}

/** The volumes of a file's text; `path` is for messages. @throws HawserError `config_invalid` */
export function parseConfig(text: string, path: string, environment: Environment): NamedVolume[] {
  return parseFile(text, path, environment).volumes;
}

/** What a file's text says; `path` is for messages. @throws HawserError `config_invalid` */
export function parseFile(text: string, path: string, environment: Environment): FileContent {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const lineOf = (offset: number | undefined): string => {
    if (offset === undefined) return path;
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const syntax = document.errors.map((error) => `${lineOf(error.pos[0])}: ${error.message}`);
  if (syntax.length > 0) throw configInvalid(syntax);

  const problems: Problem[] = [];
  const raw =
    document.contents === null ? {} : plain(document.contents, [], { document, environment, problems });
  const result = fileSchema.safeParse(raw);
  // A variable without a value would show up as a second, stranger mistake in the schema.
  if (problems.length === 0 && !result.success) problems.push(...explain(result.error, fileSchema, raw));
  let content: FileContent = { volumes: [], pool: undefined, task: {} };
  if (problems.length === 0 && result.success) {
    const { volumes = [], pool, ...task } = result.data;
    content = { volumes: named(volumes), pool, task };
    problems.push(...crossCheck(content));
  }
  if (problems.length > 0) {
    throw configInvalid(
      problems.map(
        ({ path: at, message, unknownKey }) =>
          `${lineOf(offsetOf(document, at, unknownKey))}: ${formatPath(at)}: ${message}`,
      ),
    );
  }
  return content;
}

/** Every volume with a name: its own, or the last part of its mount path. */
export function named(volumes: readonly VolumeConfig[]): NamedVolume[] {
  return volumes.map((volume) => ({ ...volume, name: volume.name ?? defaultName(volume.mount) }));
}

function configInvalid(messages: string[]): HawserError {
  return new HawserError("config_invalid", messages.join("\n"));
}

/** `/data/imagenet` -> `imagenet`. */
export function defaultName(mount: string): string {
  const last = mount.slice(mount.lastIndexOf("/") + 1);
  return (
    last
      .replace(/[^A-Za-z0-9._-]/g, "_")
      .replace(/^[._-]+/, "")
      .slice(0, 63) || "volume"
  );
}

function crossCheck({ volumes, pool, task }: FileContent): Problem[] {
  const problems = crossCheckVolumes(volumes);
  if (pool) {
    for (const { path, message } of crossCheckPool(pool)) {
      problems.push({ path: ["pool", ...path], message, unknownKey: false });
    }
    for (const { path, message } of crossCheckTransfers(task.outputs ?? [], nodeIds(pool))) {
      problems.push({ path, message, unknownKey: false });
    }
  } else if (volumes.length === 0) {
    problems.push({ path: ["volumes"], message: "is required.", unknownKey: false });
  }
  return problems;
}

/** What no single value shows: system paths, options of writable volumes on others, shared or nested mount points, names used twice, caches inside mounts. */
export function crossCheckVolumes(volumes: readonly NamedVolume[]): Problem[] {
  const problems: Problem[] = [];
  const report = (index: number, key: KeyPath, message: string): void => {
    problems.push({ path: ["volumes", index, ...key], message, unknownKey: false });
  };
  volumes.forEach((volume, i) => {
    const refused = refusePath(volume.mount);
    if (refused) report(i, ["mount"], refused);
    for (const { path, message } of misplacedWritingOptions(volume)) report(i, path, message);
    volumes.slice(0, i).forEach((other) => {
      const overlap = overlaps(other.mount, volume.mount);
      if (overlap) report(i, ["mount"], overlap);
      if (other.name === volume.name) {
        report(i, ["name"], `two volumes are called '${volume.name}'; give one of them another name.`);
      }
    });
    volumes.forEach((other) => {
      if (volume.cache.dir && isInside(volume.cache.dir, other.mount)) {
        report(
          i,
          ["cache", "dir"],
          `${volume.cache.dir} is inside the volume at ${other.mount}; a cache needs a local disk.`,
        );
      }
    });
  });
  return problems;
}

export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** Deeper than any key of the schema; stops aliases that contain themselves. */
const MAX_DEPTH = 32;

interface Reading {
  document: Document;
  environment: Environment;
  problems: Problem[];
}

/** The tree as plain values: variables filled in, numbers as written, aliases and merges resolved. */
function plain(node: Node | null, path: KeyPath, reading: Reading): unknown {
  if (path.length > MAX_DEPTH)
    throw configInvalid([`${formatPath(path)}: nested too deeply; an alias may contain itself.`]);
  if (isMap(node)) {
    const own: [string, unknown][] = [];
    const merged: [string, unknown][] = [];
    for (const pair of node.items) {
      const key: unknown = isScalar(pair.key) ? pair.key.value : pair.key;
      // With `merge`, the parser makes `<<` a symbol, so that a quoted "<<" is an ordinary key.
      if (typeof key === "symbol") merged.push(...mergedEntries(pair, path, reading));
      else own.push([String(key), plain(pair.value as Node | null, [...path, String(key)], reading)]);
    }
    return Object.fromEntries([...merged, ...own]);
  }
  if (isSeq(node)) return node.items.map((item, i) => plain(item as Node | null, [...path, i], reading));
  if (isScalar(node)) return scalar(node.value, node.source, path, reading);
  if (node === null) return undefined;
  const target = "resolve" in node ? node.resolve(reading.document) : undefined;
  return target ? plain(target, path, reading) : undefined;
}

function mergedEntries(pair: Pair, path: KeyPath, reading: Reading): [string, unknown][] {
  const value = plain(pair.value as Node | null, path, reading);
  const sources = Array.isArray(value) ? value : [value];
  return sources.flatMap((source) =>
    typeof source === "object" && source !== null ? Object.entries(source) : [],
  );
}

function scalar(
  value: unknown,
  source: string | undefined,
  path: KeyPath,
  { environment, problems }: Reading,
): unknown {
  if (value === null) return undefined;
  if (typeof value === "number") return source ?? String(value);
  if (typeof value !== "string") return value;
  const { text, missing } = interpolate(value, environment);
  for (const name of missing) {
    const message = `\${${name}} is not set; set it in the environment or in .env beside the file, or write \${${name}:-default}.`;
    problems.push({ path, message, unknownKey: false });
  }
  return text;
}

/** Where a path begins in the text: its key when the key is wrong, else its value; the nearest parent when absent. */
function offsetOf(document: Document, path: KeyPath, unknownKey: boolean): number | undefined {
  const parent = document.getIn(path.slice(0, -1), true);
  const last = path.at(-1);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === last);
    const node = (unknownKey ? pair?.key : (pair?.value ?? pair?.key)) as Node | null | undefined;
    if (node?.range) return node.range[0];
  }
  const node = document.getIn(path, true) as Node | undefined;
  if (node?.range) return node.range[0];
  return path.length > 0 ? offsetOf(document, path.slice(0, -1), false) : undefined;
}
