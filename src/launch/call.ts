/**
 * Calling an exported function of a JavaScript module on nodes, and gathering what it returns.
 *
 * The module is sent to the node with the folder it is in (.gitignore and .hawserignore apply), and run there by the
 * worker's own Node.js as the job's user. Arguments and results are JSON.
 */
import { randomUUID } from "node:crypto";
import { basename, dirname, resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import { eachNode } from "./each.ts";
import type { Outcome } from "./each.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { workerSpecs } from "./prepare.ts";
import { pushFiles } from "./push.ts";
import { shellQuote } from "./ssh/shell.ts";
import { taskEnvironment } from "./task-environment.ts";
import { workFiles } from "./work-files.ts";
import { WorkerFolder } from "./worker/spec.ts";

/** Its argument vector: module, function, mark; the arguments are its standard input. */
const RUNNER = `
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
const [path, name, mark] = process.argv.slice(1);
const write = (value) => process.stdout.write("\\n" + mark + JSON.stringify(value) + "\\n");
try {
  const module = await import(pathToFileURL(path).href);
  if (typeof module[name] !== "function") throw new Error("The module exports no function '" + name + "'.");
  write({ value: await module[name](...JSON.parse(await text(process.stdin))) });
} catch (error) {
  write({ error: error instanceof Error ? error.message : String(error) });
}
`;

export async function callOnNodes(
  context: PoolContext,
  {
    module,
    name,
    argumentsFor,
  }: { module: string; name: string; argumentsFor: (node: PoolNode) => readonly unknown[] },
  nodes: readonly PoolNode[],
): Promise<Outcome<unknown>[]> {
  const { signal } = context;
  const path = resolve(context.record.baseFolder, module);
  const files = await workFiles(dirname(path));
  const specs = await workerSpecs(context, context.record.nodes);
  return await eachNode(nodes, async (node) => {
    const session = context.session(node);
    const spec = specs[node.index]!;
    const folder = `${WorkerFolder.workFolder(spec)}/.hawser/call`;
    await pushFiles(session, folder, files, signal);
    const ssh = await session.connection(signal);
    const mark = randomUUID();
    const env = Object.entries(taskEnvironment(spec, context.record.task));
    const line = [
      ["cd", WorkerFolder.workFolder(spec)].map(shellQuote).join(" "),
      ["exec", "env", ...env.map(([key, value]) => `${key}=${value}`), await session.nodeProgram(signal)]
        .concat("--input-type=module", "-e", RUNNER, `${folder}/${basename(path)}`, name, mark)
        .map(shellQuote)
        .join(" "),
    ].join(" && ");
    const stdin = JSON.stringify(argumentsFor(node));
    const { stdout, stderr } = await ssh.run(`sh -c ${shellQuote(line)}`, { signal, stdin });
    const answer = stdout.split("\n").findLast((text) => text.startsWith(mark));
    if (answer === undefined) {
      throw new HawserError(
        "job_failed",
        `${node.id}: '${name}' ended without an answer: ${stderr.trim().slice(-500)}`,
      );
    }
    const { value, error } = JSON.parse(answer.slice(mark.length)) as { value?: unknown; error?: string };
    if (error !== undefined) throw new HawserError("job_failed", `${node.id}: '${name}' failed: ${error}`);
    return value;
  });
}

/** The items that are this rank's: every `nodes`-th one, so that neighbours are on different nodes. */
export function shard<T>(items: readonly T[], rank: number, nodes: number): T[] {
  if (!Number.isInteger(nodes) || nodes < 1 || !Number.isInteger(rank) || rank < 0 || rank >= nodes) {
    throw new HawserError("invalid_argument", `There is no rank ${rank} of ${nodes}.`);
  }
  return items.filter((_item, i) => i % nodes === rank);
}

/**
 * Results as they come, or in their order.
 *
 * @param options.ordered in the order of the promises; false when absent
 * @param options.stream gives each as soon as it may; otherwise nothing is given before all are there
 */
export async function* gather<T>(
  results: readonly Promise<T>[],
  { ordered = false, stream = true }: { ordered?: boolean; stream?: boolean } = {},
): AsyncGenerator<T> {
  for (const result of results) result.catch(() => {});
  if (!stream) {
    yield* await Promise.all(results);
    return;
  }
  if (ordered) {
    for (const result of results) yield await result;
    return;
  }
  const left = new Map(results.map((result, i) => [i, result.then((value) => ({ i, value }))]));
  while (left.size > 0) {
    const { i, value } = await Promise.race(left.values());
    left.delete(i);
    yield value;
  }
}
