/** The launcher's side of a worker: requests and their answers over one SSH channel. */
import type { ClientChannel } from "ssh2";
import { HawserError } from "../common/errors.ts";
import { LineSplitter, fromErrorMessage } from "../daemon/control-protocol.ts";
import type { ControlAnswer } from "../daemon/control-protocol.ts";
import type { SshConnection } from "./ssh/connection.ts";
import type { WorkerMethod, WorkerMethods } from "./worker/protocol.ts";

interface Pending {
  onEvent: ((event: unknown) => void) | undefined;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export class WorkerClient {
  private readonly label: string;
  private readonly channel: ClientChannel;
  private readonly pending = new Map<number, Pending>();
  private readonly splitter = new LineSplitter();
  private nextId = 1;
  private said = "";
  private failure: HawserError | undefined;

  private constructor(channel: ClientChannel, label: string) {
    this.channel = channel;
    this.label = label;
  }

  /** @param command joins its standard streams with the worker's socket */
  static async open(ssh: SshConnection, command: string, signal: AbortSignal): Promise<WorkerClient> {
    let client!: WorkerClient;
    await ssh.exec(command, signal, (channel) => {
      client = new WorkerClient(channel, ssh.label);
      client.listen();
    });
    return client;
  }

  private listen(): void {
    this.channel.on("data", (chunk: Buffer) => {
      try {
        for (const line of this.splitter.push(chunk.toString()))
          this.receive(JSON.parse(line) as ControlAnswer);
      } catch (error) {
        this.said += `${String(error)}\n`;
        this.close();
      }
    });
    this.channel.stderr.on("data", (chunk: Buffer) => {
      this.said = (this.said + chunk.toString()).slice(-2000);
    });
    let exited = false;
    this.channel.on("exit", () => {
      exited = true;
    });
    this.channel.once("close", () => this.end(exited));
  }

  private receive(answer: ControlAnswer): void {
    const pending = this.pending.get(answer.id);
    if (!pending) return;
    if ("event" in answer) {
      pending.onEvent?.(answer.event);
      return;
    }
    this.pending.delete(answer.id);
    if ("error" in answer) pending.reject(this.named(fromErrorMessage(answer.error)));
    else pending.resolve(answer.result);
  }

  /** Which node it was is in every message. */
  private named(error: HawserError): HawserError {
    return new HawserError(error.code, `${this.label}: ${error.message}`, { cause: error });
  }

  private end(exited: boolean): void {
    const code = /\[([a-z_]+)\]/.exec(this.said)?.[1];
    const words = this.said
      .trim()
      .replace(/^error: /, "")
      .replace(/ \[[a-z_]+\]/, "");
    this.failure ??=
      exited && words !== ""
        ? new HawserError(code === "pool_not_found" ? code : "node_failed", `${this.label}: ${words}`)
        : exited
          ? new HawserError("node_failed", `${this.label}: the worker ended.`)
          : new HawserError("ssh_unreachable", `The connection to ${this.label} was lost.`);
    for (const request of this.pending.values()) request.reject(this.failure);
    this.pending.clear();
  }

  /** @throws HawserError what the worker answers; `ssh_unreachable` when the connection breaks */
  call<M extends WorkerMethod>(
    method: M,
    params: WorkerMethods[M]["params"],
    options: { signal?: AbortSignal | undefined; onEvent?: (event: unknown) => void } = {},
  ): Promise<WorkerMethods[M]["result"]> {
    const { signal, onEvent } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted || this.failure) {
        reject(this.failure ?? (signal!.reason as Error));
        return;
      }
      const id = this.nextId++;
      const onAbort = (): void => {
        this.pending.delete(id);
        reject(signal!.reason as Error);
      };
      const done = (): void => signal?.removeEventListener("abort", onAbort);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.pending.set(id, {
        onEvent,
        resolve: (result) => {
          done();
          resolve(result as WorkerMethods[M]["result"]);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
      this.channel.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  close(): void {
    this.channel.destroy();
  }
}
