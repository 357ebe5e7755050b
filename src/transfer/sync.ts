/**
 * sync: makes a target the same as its source, or two sides the same as each other, sending nothing that is the same.
 *
 * Both sides are walked in key order and joined, so that a million files take no more memory than a thousand. What only
 * the target has is left, unless it is to be deleted: then it is counted, asked about, and deleted after everything else.
 */
import { resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import { formatAddress, parseAddress } from "./address.ts";
import type { Address } from "./address.ts";
import type { Connection } from "./connection.ts";
import { Deletions } from "./deletions.ts";
import type { Confirm } from "./deletions.ts";
import type { TransferSummary } from "./events.ts";
import { createFilter } from "./filter.ts";
import type { Filter, FilterRule } from "./filter.ts";
import { Job } from "./job.ts";
import type { JobOptions } from "./job.ts";
import { folderPrefix } from "./listing.ts";
import type { ObjectOptions } from "./object-options.ts";
import { syncBoth } from "./sync-both.ts";
import { syncDown } from "./sync-down.ts";
import { syncObjects } from "./sync-objects.ts";
import { syncUp } from "./sync-up.ts";
import type { LocalSide, RemoteSide } from "./sync-sides.ts";

export interface SyncOptions extends JobOptions, ObjectOptions {
  /** `both` sends what changed on either side; absent, the order of the addresses says it. */
  direction?: "up" | "down" | "both" | undefined;
  rules?: readonly FilterRule[] | undefined;
  /** Delete what the source does not have; with `both`, what was deleted on the other side. */
  delete?: boolean | undefined;
  /** Asked once before anything is deleted; without it everything that was found is. */
  confirm?: Confirm | undefined;
  /** Compare contents, by checksum, instead of sizes and times. */
  checksum?: boolean | undefined;
}

/** A sync under way. */
export interface Sync {
  connection: Connection;
  job: Job;
  options: SyncOptions;
  filter: Filter;
  deletions: Deletions;
}

/**
 * Resolves when everything was compared, sent, skipped or has failed: see the summary.
 *
 * @throws HawserError `invalid_argument` when the arguments make no sense together; nothing was done then
 */
export async function sync(
  connection: Connection,
  source: string,
  target: string,
  options: SyncOptions = {},
): Promise<TransferSummary> {
  const [from, to] = directed(parseAddress(source), parseAddress(target), options.direction);
  checkApart(from, to);
  const filter = createFilter(options.rules ?? []);
  const job = new Job(options);
  const work: Sync = { connection, job, options, filter, deletions: new Deletions() };
  try {
    const [left, right] = [await sideOf(connection, from), await sideOf(connection, to)];
    const blind = await run(work, left, right);
    if (blind > 0 && options.delete)
      job.note("nothing is deleted, because not everything could be looked at");
    else await work.deletions.carryOut(job, options.confirm);
  } catch (error) {
    const action = to.kind === "local" ? "download" : from.kind === "local" ? "upload" : "copy";
    job.fail({ action, source: formatAddress(from), target: formatAddress(to), bytes: 0 }, error);
  }
  return job.summary();
}

/** @returns how many things could not be looked at */
async function run(work: Sync, left: LocalSide | RemoteSide, right: LocalSide | RemoteSide): Promise<number> {
  if (left.kind === "local" && right.kind === "s3") {
    return work.options.direction === "both"
      ? await syncBoth(work, left, right)
      : await syncUp(work, left, right);
  }
  if (left.kind === "s3" && right.kind === "local") return await syncDown(work, left, right);
  return await syncObjects(work, left as RemoteSide, right as RemoteSide);
}

/** Source and target: `direction` turns them round where it says otherwise. @throws HawserError `invalid_argument` */
function directed(
  source: Address,
  target: Address,
  direction: SyncOptions["direction"],
): [from: Address, to: Address] {
  for (const { kind } of [source, target]) {
    if (kind === "stream") throw new HawserError("invalid_argument", "A stream cannot be synchronized.");
  }
  const buckets = [source, target].filter(({ kind }) => kind === "s3").length;
  if (buckets === 0) {
    throw new HawserError(
      "invalid_argument",
      `One side must be s3://bucket/prefix: '${formatAddress(source)}' and '${formatAddress(target)}' are both ` +
        "local; for two folders there is rsync.",
    );
  }
  if (direction === undefined) return [source, target];
  if (buckets === 2) {
    throw new HawserError(
      "invalid_argument",
      "A direction is for a local folder and a bucket; with two buckets the order says it.",
    );
  }
  const localFirst = source.kind === "local";
  return localFirst === (direction !== "down") ? [source, target] : [target, source];
}

function checkApart(from: Address, to: Address): void {
  if (from.kind !== "s3" || to.kind !== "s3" || from.bucket !== to.bucket) return;
  const [source, target] = [folderPrefix(from.key), folderPrefix(to.key)];
  if (!source.startsWith(target) && !target.startsWith(source)) return;
  throw new HawserError("invalid_argument", `${formatAddress(from)} and ${formatAddress(to)} are not apart.`);
}

async function sideOf(connection: Connection, address: Address): Promise<LocalSide | RemoteSide> {
  if (address.kind === "s3") {
    return { kind: "s3", store: await connection.store(address.bucket), prefix: folderPrefix(address.key) };
  }
  return { kind: "local", folder: address.kind === "local" ? resolve(address.path) : "" };
}
