/**
 * Running a job on every node: it starts on all or on none, its output is followed wherever the connection goes, and
 * the first failure ends the rest.
 *
 * Nothing of the job depends on this process. When a connection is lost, it is made again and the output goes on where
 * it stopped; a launcher that is started anew follows the same run.
 */
import { setMaxListeners } from "node:events";
import { appendFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { eachNode } from "./each.ts";
import { GoneError, GoneWatch } from "./gone.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import type { JobState, LogPiece } from "./worker/protocol.ts";

/** How long a node may be out of reach before its job counts as lost. */
const LOST_MS: Milliseconds = 10 * 60_000;
const RETRY_MS: Milliseconds = 1000;
/** To log in, and for the job's own time to end. */
const STOP_MS: Milliseconds = 60_000;

export interface JobCommand {
  /** `job` or `setup`. */
  name: string;
  run: string;
  commandFor(this: void, node: PoolNode): { argv: string[]; env: Record<string, string> };
}

export interface JobResult {
  /** Of the first node that failed; 0 when all went well. */
  code: number;
  /** Which one it was. */
  failedRank: number | undefined;
  codes: (number | undefined)[];
  /** Nodes that are gone, or that EC2 takes away. */
  lost: number[];
  /** Why the pool has ended by itself meanwhile. */
  poolEnded: string | undefined;
  /** The pool's time to live ended it. */
  expired?: boolean | undefined;
}

/** Starts it everywhere, or nowhere. */
export async function startJob(
  context: PoolContext,
  { name, run, commandFor }: JobCommand,
  signal: AbortSignal,
): Promise<void> {
  const { nodes } = context.record;
  const outcomes = await eachNode(nodes, async (node) => {
    const worker = await context.session(node).worker(signal);
    return await worker.call("start", { name, run, ...commandFor(node) }, { signal });
  });
  const failed = outcomes.find((outcome) => !outcome.ok);
  if (!failed || failed.ok) return;
  await stopJob(context, name);
  throw failed.error;
}

/** Ends it everywhere. Nodes that cannot be reached are passed over. */
export async function stopJob(context: PoolContext, name: string, except?: PoolNode): Promise<void> {
  const signal = AbortSignal.timeout(STOP_MS);
  setMaxListeners(0, signal);
  await eachNode(
    context.record.nodes.filter((node) => node !== except),
    async (node) => {
      const worker = await context.session(node).worker(signal);
      await worker.call("stop", { name }, { signal });
    },
  );
}

/** Follows a run until it has ended on every node. */
export async function followJob(
  context: PoolContext,
  { name, run }: Pick<JobCommand, "name" | "run">,
  options: { signal: AbortSignal; ranks?: readonly number[] | undefined; stopOthers: boolean },
): Promise<JobResult> {
  const { signal, ranks, stopOthers } = options;
  const nodes = context.record.nodes.filter(({ index }) => ranks?.includes(index) ?? true);
  const logs = context.folder.logsPath;
  if (!ranks) rmSync(logs, { recursive: true, force: true });
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  let first: { code: number; rank: number } | undefined;
  const lost = new Set<number>();
  let poolEnded: string | undefined;
  let expired: boolean | undefined;
  const codes = await Promise.all(
    nodes.map(async (node): Promise<number | undefined> => {
      const output = new RankLog(context, node.index, join(logs, `${name}-rank${node.index}.log`));
      let code: number;
      try {
        const ended = await followNode(context, node, { name, run }, output, signal);
        code = ended.code ?? 1;
        if (ended.stoppedBecause !== undefined) {
          const text = `the job was stopped: ${ended.stoppedBecause}`;
          context.events({ type: "note", node: node.index, text });
          if (ended.losesMachine) lost.add(node.index);
          else poolEnded = ended.stoppedBecause;
          expired ||= ended.expired;
        }
      } catch (error) {
        if (signal.aborted) throw error;
        if (error instanceof GoneError) lost.add(node.index);
        context.events({ type: "note", node: node.index, text: toHawserError(error).message });
        code = 1;
      }
      output.end();
      if (code !== 0 && !first) {
        first = { code, rank: node.index };
        if (stopOthers && nodes.length > 1) await stopJob(context, name, node);
      }
      return code;
    }),
  );
  return {
    code: first?.code ?? 0,
    failedRank: first?.rank,
    codes,
    lost: [...lost].sort((a, b) => a - b),
    poolEnded,
    expired,
  };
}

/** One node's job, over as many connections as it takes. */
async function followNode(
  context: PoolContext,
  node: PoolNode,
  job: Pick<JobCommand, "name" | "run">,
  output: RankLog,
  signal: AbortSignal,
): Promise<JobState> {
  const session = context.session(node);
  const gone = new GoneWatch(context);
  let lostMs: number | undefined;
  for (;;) {
    try {
      const worker = await session.worker(signal);
      if (lostMs !== undefined) context.events({ type: "note", node: node.index, text: "connected again" });
      lostMs = undefined;
      return await worker.call(
        "follow",
        { ...job, offset: output.offset },
        { signal, onEvent: (event) => output.take(event as LogPiece) },
      );
    } catch (error) {
      signal.throwIfAborted();
      if (!HawserError.is(error, "ssh_unreachable", "node_failed")) throw error;
      const now = context.clock.monotonic();
      await gone.refuseGone(node, signal);
      if (lostMs === undefined) {
        context.events({
          type: "note",
          node: node.index,
          text: `${error.message} The job goes on there; connecting again`,
        });
      }
      lostMs ??= now;
      if (now - lostMs > LOST_MS) throw error;
      session.reset();
      await sleep(RETRY_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

/** Output of one rank: lines for whoever watches, bytes for the file. */
class RankLog {
  offset = 0;
  private readonly context: PoolContext;
  private readonly rank: number;
  private readonly path: string;
  private readonly decoder = new StringDecoder("utf8");
  private rest = "";

  constructor(context: PoolContext, rank: number, path: string) {
    this.context = context;
    this.rank = rank;
    this.path = path;
    rmSync(path, { force: true });
  }

  take({ offset, data }: LogPiece): void {
    const bytes = Buffer.from(data, "base64");
    this.offset = offset + bytes.length;
    appendFileSync(this.path, bytes, { mode: 0o600 });
    const lines = (this.rest + this.decoder.write(bytes)).split("\n");
    this.rest = lines.pop()!;
    for (const line of lines) this.tell(line);
  }

  end(): void {
    this.rest += this.decoder.end();
    if (this.rest !== "") this.tell(this.rest);
    this.rest = "";
  }

  private tell(line: string): void {
    this.context.events({ type: "log", rank: this.rank, line: line.replace(/\r$/, "") });
  }
}
