/** The server side of a mount's control socket. */
import { chmodSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import { LineSplitter, toErrorMessage } from "./control-protocol.ts";
import type { ControlAnswer, ControlMethod, ControlMethods, ControlRequest } from "./control-protocol.ts";
import { within } from "./deadline.ts";

/** How long a server that closes waits for answers under way, and for clients to take them. */
const ANSWER_MS: Milliseconds = 2000;

export type ControlHandlers = {
  [M in ControlMethod]: (
    params: ControlMethods[M]["params"],
    emit: (event: unknown) => void,
  ) => Promise<ControlMethods[M]["result"]> | ControlMethods[M]["result"];
};

/** Answers by the method's name; another process than a mount's has methods of its own. */
export type AnyHandlers = Readonly<
  Record<string, (params: never, emit: (event: unknown) => void) => unknown>
>;

export class ControlServer implements AsyncDisposable {
  private readonly handlers: AnyHandlers;
  private readonly log: Logger;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly underWay = new Set<Promise<void>>();
  private path: string | undefined;

  constructor(handlers: ControlHandlers | AnyHandlers, log: Logger) {
    this.handlers = handlers;
    this.log = log;
    this.server = createServer((socket) => this.accept(socket));
  }

  /** Listens at `path`, which only this user can open. Replaces a socket that is left from before. */
  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(path, () => {
        this.server.off("error", reject);
        resolve();
      });
    });
    chmodSync(path, 0o600);
    this.path = path;
  }

  /** Stops listening; what is under way is still answered, for a bounded time. May be called twice. */
  async close(): Promise<void> {
    if (this.path === undefined) return;
    this.path = undefined;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    await within(Promise.all(this.underWay), ANSWER_MS);
    for (const socket of this.sockets) socket.end();
    await within(closed, ANSWER_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private accept(socket: Socket): void {
    const splitter = new LineSplitter();
    this.sockets.add(socket);
    socket.setEncoding("utf8");
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: string) => {
      try {
        for (const line of splitter.push(chunk)) this.receive(line, socket);
      } catch (error) {
        this.log.warn({ err: error }, "control connection dropped");
        socket.destroy();
      }
    });
  }

  private receive(line: string, socket: Socket): void {
    const request = JSON.parse(line) as ControlRequest;
    const send = (answer: ControlAnswer): void => {
      if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`);
    };
    const answered = this.handle(request, (event) => send({ id: request.id, event })).then(
      (result) => send({ id: request.id, result }),
      (error: unknown) => {
        const failure = toHawserError(error);
        if (failure.code === "internal")
          this.log.error({ err: failure, method: request.method }, "control request failed");
        send({ id: request.id, error: toErrorMessage(failure) });
      },
    );
    this.underWay.add(answered);
    void answered.finally(() => this.underWay.delete(answered));
  }

  private async handle({ method, params }: ControlRequest, emit: (event: unknown) => void): Promise<unknown> {
    if (!Object.hasOwn(this.handlers, method)) {
      throw new HawserError(
        "not_supported",
        `This process does not know '${method}'; it was started by another version of Hawser.`,
      );
    }
    const handler = this.handlers[method] as (params: unknown, emit: (event: unknown) => void) => unknown;
    return await handler(params ?? {}, emit);
  }
}
