/**
 * copy: files and objects from anywhere to anywhere but from disk to disk.
 *
 * What a source names decides how its target is called: one file or object takes the target's name, or its own in a
 * target that is a folder; what lies below a folder or prefix keeps its path from there; what a glob matches keeps its
 * path from the last slash in front of the glob.
 */
import { HawserError } from "../common/errors.ts";
import { isGlob } from "../common/glob.ts";
import { formatAddress, formatS3, parseAddress } from "./address.ts";
import type { Address, LocalAddress, S3Address } from "./address.ts";
import type { Connection } from "./connection.ts";
import { copyTasks } from "./copy-objects.ts";
import { downloadTasks } from "./copy-down.ts";
import { uploadTasks } from "./copy-up.ts";
import type { TransferSummary } from "./events.ts";
import { createFilter } from "./filter.ts";
import { Job } from "./job.ts";
import { isFolder } from "./route.ts";
import type { CopyOptions, Route } from "./route.ts";
import { copyFromStream, copyToStream } from "./streams.ts";
import { runTasks } from "./tasks.ts";
import type { Task } from "./tasks.ts";

/**
 * Copies. Resolves when every file was copied, has failed or was skipped: see the summary.
 *
 * @throws HawserError `invalid_argument` when the arguments make no sense together; nothing was done then
 */
export async function copy(
  connection: Connection,
  sources: readonly string[],
  target: string,
  options: CopyOptions = {},
): Promise<TransferSummary> {
  const to = parseAddress(target);
  const from = sources.map(parseAddress);
  if (from.length === 0) throw new HawserError("invalid_argument", "There is no source to copy from.");
  const filter = createFilter(options.rules ?? []);
  checkRoutes(from, to, options);
  const several = from.length > 1;
  const job = new Job(options);
  for (const source of from) {
    if (job.signal.aborted) break;
    const intoFolder = several || isFolder(to);
    try {
      await copyOne(connection, job, { from: source, to, intoFolder, several, options, filter });
    } catch (error) {
      const item = { action: actionOf(source, to), source: formatAddress(source), target, bytes: 0 } as const;
      job.fail(item, error);
    }
  }
  return job.summary();
}

async function copyOne(connection: Connection, job: Job, route: Route<Address, Address>): Promise<void> {
  const { from, to, options } = route;
  if (from.kind === "stream" && to.kind === "s3") return await copyFromStream(connection, job, to, options);
  if (from.kind === "s3" && to.kind === "stream") return await copyToStream(connection, job, from, options);
  await runTasks(job, connection, await tasksOf(connection, job, route));
}

async function tasksOf(
  connection: Connection,
  job: Job,
  route: Route<Address, Address>,
): Promise<AsyncIterable<readonly Task[]>> {
  const { from, to } = route;
  if (from.kind === "s3") {
    return to.kind === "s3"
      ? await copyTasks(connection, job, { ...route, from, to })
      : await downloadTasks(connection, job, { ...route, from, to: to as LocalAddress });
  }
  return await uploadTasks(connection, job, { ...route, from: from as LocalAddress, to: to as S3Address });
}

function actionOf(from: Address, to: Address): "upload" | "download" | "copy" {
  if (from.kind !== "s3") return "upload";
  return to.kind === "s3" ? "copy" : "download";
}

/** @throws HawserError `invalid_argument` */
function checkRoutes(sources: readonly Address[], to: Address, options: CopyOptions): void {
  for (const from of sources) {
    if (from.kind !== "s3" && to.kind !== "s3") {
      throw new HawserError(
        "invalid_argument",
        `One side must be s3://bucket/key: '${formatAddress(from)}' and '${formatAddress(to)}' are both local.`,
      );
    }
    const streamed = from.kind === "stream" || to.kind === "stream";
    if (streamed && (sources.length > 1 || options.recursive || options.move)) {
      throw new HawserError(
        "invalid_argument",
        "A stream is one object: without --recursive, and not to be moved.",
      );
    }
    if (from.kind === "s3" && from.key === "" && !options.recursive) {
      throw new HawserError(
        "invalid_argument",
        `${formatAddress(from)} is a bucket; add --recursive to copy what is in it.`,
      );
    }
    if (from.kind === "s3" && to.kind === "s3") checkApart(from, to, options);
  }
}

/** A copy into itself would find its own copies, and copy them. @throws HawserError `invalid_argument` */
function checkApart(from: S3Address, to: S3Address, { recursive, move }: CopyOptions): void {
  if (!recursive || from.bucket !== to.bucket || isGlob(from.key)) return;
  const source = from.key === "" || from.key.endsWith("/") ? from.key : `${from.key}/`;
  const target = to.key === "" || to.key.endsWith("/") ? to.key : `${to.key}/`;
  if (!target.startsWith(source) || (target === source && !move)) return;
  throw new HawserError(
    "invalid_argument",
    `${formatS3(to.bucket, target)} is inside ${formatS3(from.bucket, source)}, from which it would be copied.`,
  );
}
