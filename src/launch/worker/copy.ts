/**
 * Copying inputs and outputs, in a process of its own that has become the job's user.
 *
 * Standard input is the only way in, also for credentials: a line says what to copy, and each time credentials are wanted
 * a line asks for them and one answers. So they are on no command line, in no environment and on no disk, and those that
 * expire in the middle are fresh ones when they are asked for again.
 */
import { stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import type { Readable } from "node:stream";
import { createInterface } from "node:readline";
import { HawserError, toHawserError } from "../../common/errors.ts";
import type { EpochMs } from "../../common/units.ts";
import { compareTimes } from "../../transfer/compare.ts";
import { Connection } from "../../transfer/connection.ts";
import { sameContent } from "../../transfer/content.ts";
import { copy } from "../../transfer/copy.ts";
import type { TransferSummary } from "../../transfer/events.ts";
import type { FilterRule } from "../../transfer/filter.ts";
import { mtimeOfObject } from "../../transfer/object-time.ts";
import { sync } from "../../transfer/sync.ts";
import { parseS3Address } from "../../transfer/address.ts";
import type { HandedCredentials } from "../../daemon/supervisor.ts";
import type { TransferResult } from "./protocol.ts";
import type { WorkerTransfer } from "./spec.ts";

/** Failures of one transfer that are named. */
const NAMED = 5;
/** For content on its way, of all transfers together. */
const MEMORY_BYTES = 192 * 2 ** 20;

export interface CopyRequest {
  /** The work folder, absolute. */
  work: string;
  transfers: WorkerTransfer[];
}

export type FromCopy = { credentials: string } | { results: TransferResult[] };
export type ToCopy = { name: string; credentials?: HandedCredentials | undefined };

/** @param tell writes one line to whoever asked */
export async function copyAll(input: Readable, tell: (line: string) => void): Promise<void> {
  const lines = createInterface({ input })[Symbol.asyncIterator]();
  const { work, transfers } = JSON.parse(String((await lines.next()).value)) as CopyRequest;
  const wanted = new Map<string, ((answer: ToCopy) => void)[]>();
  void (async () => {
    for (let line = await lines.next(); !line.done; line = await lines.next()) {
      const answer = JSON.parse(line.value) as ToCopy;
      for (const give of wanted.get(answer.name)?.splice(0) ?? []) give(answer);
    }
  })();
  const credentials = async (name: string): Promise<HandedCredentials> => {
    const answer = await new Promise<ToCopy>((resolve) => {
      wanted.set(name, [...(wanted.get(name) ?? []), resolve]);
      tell(JSON.stringify({ credentials: name } satisfies FromCopy));
    });
    if (answer.credentials) return answer.credentials;
    throw new HawserError("credentials_missing", "The launcher has not handed credentials over.");
  };
  const connections = new Map<string, Connection>();
  for (const transfer of transfers) {
    const { store, anonymous, credentials: name } = transfer;
    const key = keyOf(transfer);
    if (connections.has(key)) continue;
    const connection = new Connection({
      ...store,
      memoryBytes: MEMORY_BYTES,
      ...(anonymous
        ? { credentials: "anonymous" as const }
        : name === undefined
          ? {}
          : { credentials: () => credentials(name) }),
    });
    connections.set(key, connection);
  }
  try {
    const results = await Promise.all(
      transfers.map((transfer) => copyOne(connections.get(keyOf(transfer))!, transfer, work)),
    );
    tell(JSON.stringify({ results } satisfies FromCopy));
  } finally {
    await Promise.all([...connections.values()].map((connection) => connection.close()));
  }
}

const keyOf = ({ store, anonymous, credentials }: WorkerTransfer): string =>
  JSON.stringify({ store, anonymous, credentials });

async function copyOne(
  connection: Connection,
  transfer: WorkerTransfer,
  work: string,
): Promise<TransferResult> {
  const { direction, from, to } = transfer;
  const result: TransferResult = { direction, from, to, files: 0, unchanged: 0, bytes: 0, ms: 0, failed: 0 };
  const started = performance.now();
  try {
    const summary =
      direction === "input"
        ? await fetchInput(connection, transfer, work)
        : await pushOutput(connection, transfer, work);
    if (summary === "missing") return { ...result, missing: true };
    const { downloaded, uploaded, skipped, bytes, failed, failures, fatal } = summary;
    const said = [
      ...(fatal ? [fatal.message] : []),
      ...failures.slice(0, NAMED).map(({ source, error }) => `${source}: ${error.message}`),
    ];
    return {
      ...result,
      files: downloaded + uploaded,
      unchanged: skipped,
      bytes,
      ms: Math.round(performance.now() - started),
      failed,
      ...(said.length > 0 ? { error: said.join("; ") } : {}),
    };
  } catch (error) {
    return { ...result, failed: 1, error: toHawserError(error).message };
  }
}

const rulesOf = ({ exclude }: WorkerTransfer): FilterRule[] =>
  exclude.map((pattern) => ({ kind: "exclude", pattern }));

const inWork = (work: string, path: string): string => (path.startsWith("/") ? path : join(work, path));

/** One object where there is one of that name, else what lies below the prefix. */
async function fetchInput(
  connection: Connection,
  transfer: WorkerTransfer,
  work: string,
): Promise<TransferSummary> {
  const { from } = transfer;
  const to = inWork(work, transfer.to);
  const { bucket, key } = parseS3Address(from);
  if (key === "" || key.endsWith("/") || !(await isObject(connection, bucket, key))) {
    const summary = await sync(connection, from, to, { rules: rulesOf(transfer) });
    if (summary.downloaded + summary.skipped + summary.failed === 0 && !summary.fatal) {
      throw new HawserError("not_found", `There is nothing at ${from}.`);
    }
    return summary;
  }
  const target = to.endsWith("/") ? join(to, posix.basename(key)) : to;
  const file = await stat(target).catch(() => undefined);
  if (file && (await isSame(connection, { bucket, key }, file))) return { ...NOTHING, skipped: 1 };
  return await copy(connection, [from], target, {});
}

/** The file was copied from this object before: of its size, with its time. */
async function isSame(
  connection: Connection,
  { bucket, key }: { bucket: string; key: string },
  file: { size: number; mtimeMs: EpochMs },
): Promise<boolean> {
  const store = await connection.store(bucket);
  const { sizeBytes, mtimeMs } = await store.head(key, ASK);
  const made = (await mtimeOfObject(store, key, ASK.signal)) ?? mtimeMs;
  return sizeBytes === file.size && compareTimes(file.mtimeMs, made) === "same";
}

async function isObject(connection: Connection, bucket: string, key: string): Promise<boolean> {
  const store = await connection.store(bucket);
  const page = await store.list({ prefix: key, maxKeys: 1 }, ASK);
  return page.objects.some((object) => object.key === key);
}

const ASK = { reason: "bulk", signal: new AbortController().signal } as const;

const NOTHING: TransferSummary = {
  downloaded: 0,
  uploaded: 0,
  copied: 0,
  deleted: 0,
  skipped: 0,
  failed: 0,
  bytes: 0,
  elapsedMs: 0,
  failures: [],
  interrupted: false,
};

/** Compared by checksum: an object that is newer than the file may be another run's. */
async function pushOutput(
  connection: Connection,
  transfer: WorkerTransfer,
  work: string,
): Promise<TransferSummary | "missing"> {
  const from = inWork(work, transfer.from);
  const there = await stat(from).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (!there) return "missing";
  if (there.isDirectory()) {
    return await sync(connection, from, transfer.to, { rules: rulesOf(transfer), checksum: true });
  }
  const { bucket, key } = parseS3Address(transfer.to);
  const target = key === "" || key.endsWith("/") ? key + basename(from) : key;
  const store = await connection.store(bucket);
  const present = await store.head(target, ASK).catch((error: unknown) => {
    if (!HawserError.is(error, "not_found")) throw error;
  });
  const how = { signal: ASK.signal, partBytes: connection.partBytes };
  if (present?.sizeBytes === there.size && (await sameContent(from, present, store, how))) {
    return { ...NOTHING, skipped: 1 };
  }
  return await copy(connection, [from], transfer.to, {});
}
