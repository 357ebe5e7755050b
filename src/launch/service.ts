/** Services: jobs that are started again when they end, and that say when they can be used. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Duplex } from "node:stream";
import { HawserError } from "../common/errors.ts";
import { formatDuration } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import type { ReadinessConfig } from "../config/task.ts";
import { allOrThrow, eachNode } from "./each.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { shellQuote } from "./ssh/shell.ts";

const INTERVAL_MS: Milliseconds = 1000;
const TIMEOUT_MS: Milliseconds = 5 * 60_000;
/** How long one look may take. */
const LOOK_MS: Milliseconds = 5000;

/** Around the command: it goes on until the job is stopped. The signal reaches command and loop alike, and the loop waits for the command's end. */
const LOOP = `trap 'exit 143' TERM INT; while :; do "$@"; echo "hawser: the service ended with code $?; starting it again"; sleep 1; done`;

export function serviceCommand(argv: readonly string[]): string[] {
  return ["sh", "-c", LOOP, "sh", ...argv];
}

/** Waits until the service answers on every node. @throws HawserError `step_timed_out` with the node */
export async function waitUntilReady(
  context: PoolContext,
  readiness: ReadinessConfig,
  signal: AbortSignal,
): Promise<void> {
  const { interval = INTERVAL_MS, timeout = TIMEOUT_MS } = readiness;
  allOrThrow(
    await eachNode(context.record.nodes, async (node) => {
      const deadline = context.clock.monotonic() + timeout;
      while (!(await isReady(context, node, readiness, signal))) {
        signal.throwIfAborted();
        if (context.clock.monotonic() > deadline) {
          throw new HawserError(
            "step_timed_out",
            `${node.id}: the service was not ready within ${formatDuration(timeout)}; see 'hawser pool logs'.`,
          );
        }
        await sleep(interval, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    }),
  );
  context.events({ type: "note", text: "the service is ready on every node" });
}

async function isReady(
  context: PoolContext,
  node: PoolNode,
  { port, path, command }: ReadinessConfig,
  signal: AbortSignal,
): Promise<boolean> {
  const ssh = await context.session(node).connection(signal);
  if (command !== undefined && (await ssh.run(`sh -c ${shellQuote(command)}`, { signal })).code !== 0)
    return false;
  if (port === undefined) return true;
  let stream: Duplex;
  try {
    stream = await ssh.forwardOut("127.0.0.1", port);
  } catch (error) {
    if (HawserError.is(error, "ssh_unreachable") && ssh.isOpen) return false;
    throw error;
  }
  try {
    return path === undefined || (await answers(stream, path));
  } finally {
    stream.destroy();
  }
}

/** Whether a GET is answered with 200 to 399. */
function answers(stream: Duplex, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    let head = "";
    const timer = setTimeout(() => resolve(false), LOOK_MS);
    const done = (answer: boolean): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    stream.on("data", (chunk: Buffer) => {
      head += chunk.toString("latin1");
      if (head.includes("\r\n")) done(/^HTTP\/1\.[01] [23]\d\d/.test(head));
    });
    stream.once("error", () => done(false));
    stream.once("close", () => done(false));
    stream.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  });
}
