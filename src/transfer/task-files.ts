/**
 * The files of a task: what is fetched before a program runs, and pushed when it has ended.
 *
 * Both send only what is not there as it is here. Outputs are compared by checksum, because an object that is newer than
 * the file may be another run's.
 */
import { stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import { parseS3Address } from "./address.ts";
import { compareTimes } from "./compare.ts";
import type { Connection } from "./connection.ts";
import { sameContent } from "./content.ts";
import { copy } from "./copy.ts";
import type { TransferSummary } from "./events.ts";
import type { FilterRule } from "./filter.ts";
import { Job } from "./job.ts";
import type { JobOptions } from "./job.ts";
import { mtimeOfObject } from "./object-time.ts";
import { sync } from "./sync.ts";

export interface TaskTransfer {
  from: string;
  to: string;
  /** Globs of what is left out. */
  exclude: readonly string[];
}

type Options = Pick<JobOptions, "signal" | "onEvent">;

/** One object where there is one of that name, else what lies below the prefix. @throws HawserError `not_found` */
export async function fetchInput(
  connection: Connection,
  transfer: TaskTransfer,
  options: Options = {},
): Promise<TransferSummary> {
  const { from, to } = transfer;
  const { bucket, key } = parseS3Address(from);
  if (key === "" || key.endsWith("/") || !(await isObject(connection, bucket, key, options))) {
    const summary = await sync(connection, from, to, { ...options, rules: rulesOf(transfer) });
    const { downloaded, skipped, failed, fatal, interrupted } = summary;
    if (downloaded + skipped + failed === 0 && !fatal && !interrupted) {
      throw new HawserError("not_found", `There is nothing at ${from}.`);
    }
    return summary;
  }
  const target = to.endsWith("/") ? join(to, posix.basename(key)) : to;
  const file = await stat(target).catch(() => undefined);
  if (file && (await isSame(connection, { bucket, key }, file, options))) return nothingDone(options);
  return await copy(connection, [from], target, options);
}

/** @returns `missing` where there is no such file or folder */
export async function pushOutput(
  connection: Connection,
  transfer: TaskTransfer,
  options: Options = {},
): Promise<TransferSummary | "missing"> {
  const { from, to } = transfer;
  const there = await stat(from).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (!there) return "missing";
  if (there.isDirectory()) {
    return await sync(connection, from, to, { ...options, rules: rulesOf(transfer), checksum: true });
  }
  const { bucket, key } = parseS3Address(to);
  const target = key === "" || key.endsWith("/") ? key + basename(from) : key;
  const store = await connection.store(bucket);
  const present = await store.head(target, asking(options)).catch((error: unknown) => {
    if (!HawserError.is(error, "not_found")) throw error;
  });
  const how = { signal: asking(options).signal, partBytes: connection.partBytes };
  if (present?.sizeBytes === there.size && (await sameContent(from, present, store, how))) {
    return nothingDone(options);
  }
  return await copy(connection, [from], to, options);
}

/** The file was copied from this object before: of its size, with its time. */
async function isSame(
  connection: Connection,
  { bucket, key }: { bucket: string; key: string },
  file: { size: number; mtimeMs: EpochMs },
  options: Options,
): Promise<boolean> {
  const store = await connection.store(bucket);
  const ask = asking(options);
  const { sizeBytes, mtimeMs } = await store.head(key, ask);
  const made = (await mtimeOfObject(store, key, ask.signal)) ?? mtimeMs;
  return sizeBytes === file.size && compareTimes(file.mtimeMs, made) === "same";
}

async function isObject(
  connection: Connection,
  bucket: string,
  key: string,
  options: Options,
): Promise<boolean> {
  const store = await connection.store(bucket);
  const page = await store.list({ prefix: key, maxKeys: 1 }, asking(options));
  return page.objects.some((object) => object.key === key);
}

function asking({ signal }: Options): { reason: "bulk"; signal: AbortSignal } {
  return { reason: "bulk", signal: signal ?? new AbortController().signal };
}

function rulesOf({ exclude }: TaskTransfer): FilterRule[] {
  return exclude.map((pattern) => ({ kind: "exclude", pattern }));
}

function nothingDone(options: Options): TransferSummary {
  return { ...new Job(options).summary(), skipped: 1 };
}
