/**
 * Copying inputs and outputs, in a process of its own that has become the job's user.
 *
 * Standard input is the only way in, also for credentials: a line says what to copy, and each time credentials are wanted
 * a line asks for them and one answers. So they are on no command line, in no environment and on no disk, and those that
 * expire in the middle are fresh ones when they are asked for again.
 */
import { join } from "node:path";
import type { Readable } from "node:stream";
import { createInterface } from "node:readline";
import { HawserError, toHawserError } from "../../common/errors.ts";
import { Connection } from "../../transfer/connection.ts";
import { fetchInput, pushOutput } from "../../transfer/task-files.ts";
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
    const { exclude } = transfer;
    const summary =
      direction === "input"
        ? await fetchInput(connection, { from, to: inWork(work, to), exclude })
        : await pushOutput(connection, { from: inWork(work, from), to, exclude });
    if (summary === "missing") return { ...result, missing: true };
    const { downloaded, uploaded, skipped, bytes, failed, failures, fatal } = summary;
    const isFull = [fatal, ...failures.map(({ error }) => error)].some(isNoSpace);
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
      ...(direction === "input" && isFull ? { diskFull: true } : {}),
    };
  } catch (error) {
    const diskFull = direction === "input" && isNoSpace(error) ? { diskFull: true } : {};
    return { ...result, failed: 1, error: toHawserError(error).message, ...diskFull };
  }
}

const isNoSpace = (error: unknown): boolean => HawserError.is(error, "no_space");

const inWork = (work: string, path: string): string => (path.startsWith("/") ? path : join(work, path));
