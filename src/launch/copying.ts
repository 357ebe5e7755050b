/** The steps in which nodes copy: inputs before setup, outputs after the job. Content never passes this machine. */
import { HawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import { allOrThrow, eachNode } from "./each.ts";
import { refuseFullDisks } from "./full-disks.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import type { TransferResult } from "./worker/protocol.ts";

const INPUTS_MS: Milliseconds = 24 * 3600_000;

/**
 * @throws HawserError `inputs_failed` with the node and what it could not fetch; `no_space` where its disk is full, as
 *   MachinesFailed where the others have room
 */
export async function fetchInputs(context: PoolContext): Promise<void> {
  if ((context.record.task.inputs ?? []).length === 0) return;
  await copyOnNodes(context, "inputs", "inputs_failed");
}

/**
 * @param lost indexes of nodes that cannot be asked any more
 * @throws HawserError `drain_failed` with the node and what is not in the bucket; it is still there
 */
export async function pushOutputs(context: PoolContext, lost: readonly number[] = []): Promise<void> {
  if ((context.record.task.outputs ?? []).length === 0) return;
  await copyOnNodes(context, "outputs", "drain_failed", lost);
}

async function copyOnNodes(
  context: PoolContext,
  step: "inputs" | "outputs",
  code: ErrorCode,
  except: readonly number[] = [],
): Promise<void> {
  const direction = step === "inputs" ? "input" : "output";
  const nodes = context.record.nodes.filter(({ index }) => !except.includes(index));
  const outcomes = await eachNode(nodes, (node) =>
    context.steps.run(
      step,
      { node: node.index, timeoutMs: step === "inputs" ? INPUTS_MS : undefined },
      async (signal) => {
        const results = await transferOn(context, node, direction, signal);
        for (const result of results) {
          context.events({ type: "note", node: node.index, text: accountOf(result) });
        }
        const failed = results.filter(({ error }) => error !== undefined);
        if (failed.length === 0) return results;
        throw new HawserError(
          failed.some(({ diskFull }) => diskFull) ? "no_space" : code,
          failed.map(({ from, to, error }) => `${node.id}: ${from} to ${to}: ${error}`).join("\n"),
        );
      },
      totalOf,
    ),
  );
  if (step === "inputs") refuseFullDisks(nodes, outcomes);
  allOrThrow(outcomes);
}

/** What was copied; nothing on a node that has ended the pool by itself, which is done only with its outputs home. */
async function transferOn(
  context: PoolContext,
  node: PoolNode,
  direction: "input" | "output",
  signal: AbortSignal,
): Promise<TransferResult[]> {
  const session = context.session(node);
  try {
    const worker = await session.worker(signal);
    return (await worker.call("transfer", { direction }, { signal })).results;
  } catch (error) {
    const ended =
      direction === "output" &&
      (HawserError.is(error, "pool_not_found") || !(await session.knowsPool(signal)));
    if (!ended) throw error;
    const text = "the pool has ended by itself there, and its outputs went before";
    context.events({ type: "note", node: node.index, text });
    return [];
  }
}

/** `s3://a/b/ to data: 12 files, 3.1 MiB in 0.4 s (7.7 MiB/s)`. */
export function accountOf({
  from,
  to,
  files,
  unchanged,
  bytes,
  ms,
  failed,
  missing,
}: TransferResult): string {
  const what = `${from} to ${to}`;
  if (missing) return `${what}: there is nothing to copy`;
  const seconds = Math.max(ms, 1) / 1000;
  const said = [
    `${files} file${files === 1 ? "" : "s"}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${formatBytes(bytes / seconds)}/s)`,
    ...(unchanged > 0 ? [`${unchanged} there already`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ];
  return `${what}: ${said.join(", ")}`;
}

function totalOf(results: readonly TransferResult[]): string {
  const files = results.reduce((sum, result) => sum + result.files, 0);
  const bytes = results.reduce((sum, result) => sum + result.bytes, 0);
  return files === 0 ? "nothing new" : `${files} files, ${formatBytes(bytes)}`;
}
