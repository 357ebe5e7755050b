/** A run from start to end: the pool is made, does its work and is ended, whatever happens in between. */
import { spawn } from "node:child_process";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { JobResult } from "./job-run.ts";
import { Pool } from "./pool.ts";
import type { PoolRequest } from "./pool.ts";
import type { PoolOptions } from "./pool-context.ts";
import type { RunOptions } from "./task.ts";
import { timeIsOver } from "./time-over.ts";
import { refuseOutliving } from "./volume-credentials.ts";

export interface WholeRunOptions extends RunOptions {
  /** Leave the pool up afterwards, drained or not. */
  keep?: boolean | undefined;
}

/**
 * @returns the job's result; `undefined` when it was left running
 * @throws HawserError what went wrong first; what went wrong in the end is told as a note
 */
export async function runWhole(
  request: PoolRequest,
  options: PoolOptions,
  { keep = false, detach, ...run }: WholeRunOptions = {},
): Promise<JobResult | undefined> {
  const pool = await Pool.take(request, "run", options);
  if (detach) {
    try {
      await refuseOutliving(pool.context.record, pool.context.credentials);
    } catch (error) {
      pool.close();
      throw error;
    }
  }
  let result: JobResult | undefined;
  let failure: HawserError | undefined;
  try {
    await pool.prepare({ endsWithRun: !keep && !detach });
    result = await pool.run({ ...run, detach });
    if (detach) {
      pool.close();
      return undefined;
    }
  } catch (error) {
    failure = toHawserError(error);
  }
  const { folder, expiresMs } = pool.context;
  const record = { ...pool.context.record, expiresMs };
  const facts = { name: pool.name, nodes: pool.nodes.map(({ id }) => id) };
  const drained = keep ? undefined : await end(pool, options);
  pool.close();
  if (result?.expired) {
    const broughtHome = !keep && !drained;
    const logsPath = folder.exists() ? folder.logsPath : folder.keptLogsPath;
    options.onEvent?.({ type: "note", text: timeIsOver(record, { logsPath, broughtHome }) });
  }
  if (failure && drained) options.onEvent?.({ type: "note", text: drained.message });
  if (failure ?? drained) throw failure ?? drained!;
  await runAfter(request, options, result!, facts);
  return result;
}

/** With a signal of its own: an interrupted run is drained too. @returns why something is left */
async function end(pool: Pool, options: PoolOptions): Promise<HawserError | undefined> {
  const { record } = pool.context;
  pool.context.close();
  if (!pool.context.folder.exists()) return undefined;
  const ending = await Pool.again(record.name, pool, { ...options, signal: undefined });
  try {
    await ending.down();
    return undefined;
  } catch (error) {
    return toHawserError(error);
  } finally {
    ending.context.close();
  }
}

/** `after:` of hawser.yaml, on this machine. @throws HawserError `job_failed` when it fails itself */
async function runAfter(
  { task, baseFolder }: PoolRequest,
  { environment = process.env, onEvent }: PoolOptions,
  { code, failedRank }: JobResult,
  { name, nodes }: { name: string; nodes: string[] },
): Promise<void> {
  const command = code === 0 ? task.after?.success : task.after?.failure;
  if (command === undefined) return;
  onEvent?.({ type: "note", text: `running: ${command}` });
  const env = {
    ...environment,
    HAWSER_POOL: name,
    HAWSER_NODES: String(nodes.length),
    HAWSER_NODE_IDS: nodes.join(","),
    HAWSER_EXIT_CODE: String(code),
    ...(failedRank === undefined ? {} : { HAWSER_FAILED_RANK: String(failedRank) }),
  };
  const ended = await new Promise<number>((resolve, reject) => {
    const child = spawn("sh", ["-c", command], { cwd: baseFolder, env, stdio: ["ignore", 2, 2] });
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? 1));
  });
  if (ended !== 0) throw new HawserError("job_failed", `'${command}' ended with ${ended} on this machine.`);
}
