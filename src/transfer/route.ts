/** A copy as it was asked for: from where, to where, and how. */
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { Address } from "./address.ts";
import type { Filter, FilterRule } from "./filter.ts";
import type { JobOptions } from "./job.ts";
import type { ObjectOptions } from "./object-options.ts";
import type { Streams } from "./streams.ts";
import type { Manner } from "./tasks.ts";

export interface CopyOptions extends JobOptions, ObjectOptions, Manner {
  /** Take what lies below folders and prefixes. */
  recursive?: boolean | undefined;
  /** Which of it: see filter.ts. */
  rules?: readonly FilterRule[] | undefined;
  /** What `-` stands for. */
  streams?: Streams | undefined;
}

/** One copy, planned: what a source and the target come to. */
export interface Route<From extends Address, To extends Address> {
  from: From;
  to: To;
  /** The target is a folder that sources keep their names in. */
  intoFolder: boolean;
  /** There are other sources: folders keep their names. */
  several: boolean;
  options: CopyOptions;
  filter: Filter;
}

/** True when the target keeps its sources' names. */
export function isFolder(to: Address): boolean {
  if (to.kind === "s3") return to.key === "" || to.key.endsWith("/");
  if (to.kind === "stream") return false;
  if (/(^|\/)\.{0,2}$/.test(to.path)) return true;
  return statSync(to.path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** The name a source has in a folder. */
export function nameOf(from: Address): string {
  if (from.kind === "s3") return basename(from.key.replace(/\/+$/, "")) || from.bucket;
  return from.kind === "local" ? basename(resolve(from.path)) : "-";
}
