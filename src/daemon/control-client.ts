/** The client side of a mount's control socket. */
import { createConnection } from "node:net";
import type { Socket } from "node:net";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { LineSplitter, fromErrorMessage } from "./control-protocol.ts";
import type { ControlAnswer, ControlMethod, ControlMethods } from "./control-protocol.ts";

export interface CallOptions {
  /** Gives up with `daemon_failed`; never when absent. */
  timeoutMs?: Milliseconds;
  onEvent?: (event: unknown) => void;
}

/**
 * Asks a mount's process for one thing.
 *
 * @throws HawserError `daemon_failed` when it does not answer; otherwise what it answers
 */
export async function callDaemon<M extends ControlMethod>(
  socketPath: string,
  method: M,
  params: ControlMethods[M]["params"],
  options: CallOptions = {},
): Promise<ControlMethods[M]["result"]> {
  const socket = createConnection(socketPath);
  try {
    return await converse<M>(socket, method, params, options);
  } finally {
    socket.destroy();
  }
}

function converse<M extends ControlMethod>(
  socket: Socket,
  method: M,
  params: ControlMethods[M]["params"],
  { timeoutMs, onEvent }: CallOptions,
): Promise<ControlMethods[M]["result"]> {
  return new Promise((resolve, reject) => {
    const splitter = new LineSplitter();
    const fail = (what: string, cause?: unknown): void => {
      reject(new HawserError("daemon_failed", `The mount's process ${what}.`, { cause }));
    };
    if (timeoutMs !== undefined) {
      const timer = setTimeout(() => fail(`did not answer '${method}' within ${timeoutMs} ms`), timeoutMs);
      socket.on("close", () => clearTimeout(timer));
    }
    socket.setEncoding("utf8");
    socket.on("error", (error) => fail("cannot be reached", error));
    socket.on("close", () => fail(`ended before it answered '${method}'`));
    socket.on("data", (chunk: string) => {
      for (const line of splitter.push(chunk)) {
        const answer = JSON.parse(line) as ControlAnswer;
        if ("event" in answer) onEvent?.(answer.event);
        else if ("error" in answer) reject(fromErrorMessage(answer.error));
        else resolve(answer.result as ControlMethods[M]["result"]);
      }
    });
    socket.write(`${JSON.stringify({ id: 1, method, params })}\n`);
  });
}
