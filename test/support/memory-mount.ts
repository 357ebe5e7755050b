/** The test's end of a mount of the in-memory filesystem: starts the process that serves it, and talks to it. */
import { execFileSync, fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { HawserError, type ErrorCode } from "../../src/common/errors.ts";
import type { ChannelKind, ChannelSettings, MountOptions } from "../../src/fuse/channel.ts";
import { childProgram } from "./child-programs.ts";
import type { MemoryFilesystemOptions } from "./memory-filesystem.ts";
import type { ServeMethods } from "./serve-memory.ts";

export interface MemoryMountOptions {
  channel: ChannelKind;
  filesystem?: MemoryFilesystemOptions;
  /** `A.txt` and `a.txt` are one file. */
  ignoresCase?: boolean;
  bigEntries?: number;
  mount?: Partial<MountOptions>;
}

interface Message {
  id?: number;
  result?: unknown;
  error?: { code?: ErrorCode; message: string };
  event?: string;
  detail?: string;
}

type Pending = { resolve: (value: unknown) => void; reject: (error: Error) => void };

/** How long a server may take to end by itself once it is told to. */
const EXIT_LIMIT_MS = 60_000;

export class MemoryMount implements AsyncDisposable {
  readonly path: string;
  settings!: ChannelSettings;
  readonly child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #events: string[] = [];
  #waiting: { event: string; times: number; resolve: () => void }[] = [];
  #lastId = 0;

  private constructor() {
    this.path = mkdtempSync(path.join(tmpdir(), "hawser-mount-"));
    this.child = fork(childProgram("test/support/serve-memory.ts"), {
      execArgv: [],
      stdio: ["ignore", 2, 2, "ipc"],
    });
    this.child.on("message", (message: Message) => this.#receive(message));
    this.child.on("exit", (code, signal) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`server ended: ${code ?? signal}`));
    });
  }

  /** Mounts, with everything on by default that a test may want to use. */
  static async start({
    channel,
    filesystem,
    ignoresCase,
    bigEntries,
    mount,
  }: MemoryMountOptions): Promise<MemoryMount> {
    const self = new MemoryMount();
    const options: MountOptions = {
      mountPoint: self.path,
      source: "memory://conformance, with a comma",
      readOnly: false,
      allowOther: false,
      nonempty: false,
      passthrough: false,
      ...mount,
    };
    try {
      self.settings = await self.call("mount", {
        channel,
        ...(filesystem && { filesystem }),
        ...(ignoresCase && { ignoresCase }),
        ...(bigEntries !== undefined && { bigEntries }),
        mount: options,
      });
    } catch (error) {
      await self[Symbol.asyncDispose]();
      throw error;
    }
    return self;
  }

  /** A path below the mount. */
  at(...parts: string[]): string {
    return path.join(this.path, ...parts);
  }

  call<M extends keyof ServeMethods>(
    method: M,
    ...args: Parameters<ServeMethods[M]>
  ): Promise<Awaited<ReturnType<ServeMethods[M]>>> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.child.send({ id, method, args });
    });
  }

  /** Resolves once the server has sent this event so many times, e.g. `waiting /files/slow`, now or before. */
  happened(event: string, times = 1): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ event, times, resolve });
      this.#checkWaiting();
    });
  }

  isMounted(): boolean {
    return readFileSync("/proc/self/mountinfo", "utf8").includes(` ${this.path} `);
  }

  /** Closes the channel and lets the process end. @returns its exit code */
  async stop(): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    await this.call("close");
    const exited = once(this.child, "exit", { signal: AbortSignal.timeout(EXIT_LIMIT_MS) });
    await this.call("disconnect");
    await exited;
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      this.child.kill("SIGKILL");
      if (this.isMounted()) execFileSync("umount", ["-l", this.path]);
      rmdirSync(this.path);
    }
  }

  #receive({ id, result, error, event, detail }: Message): void {
    if (event !== undefined) {
      this.#events.push(`${event} ${detail}`);
      this.#checkWaiting();
      return;
    }
    const pending = this.#pending.get(id!);
    this.#pending.delete(id!);
    if (!error) pending?.resolve(result);
    else pending?.reject(error.code ? new HawserError(error.code, error.message) : new Error(error.message));
  }

  #checkWaiting(): void {
    this.#waiting = this.#waiting.filter(({ event, times, resolve }) => {
      if (this.#events.filter((seen) => seen === event).length < times) return true;
      resolve();
      return false;
    });
  }
}
