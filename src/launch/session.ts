/**
 * A session: the launcher's hold on one node, from the login to the worker.
 *
 * It connects when it is first needed, and again after the connection was lost; nothing on the node depends on it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { WORKER_ROOT, probe, probeGpus } from "./bootstrap/probe.ts";
import type { Gpus, Probe } from "./bootstrap/probe.ts";
import { install, programOf } from "./bootstrap/install.ts";
import type { Bundle, WorkerProgram } from "./bootstrap/install.ts";
import type { PoolNode } from "./node.ts";
import { connect } from "./ssh/connect.ts";
import type { SshConnection } from "./ssh/connection.ts";
import { shellQuote } from "./ssh/shell.ts";
import { resolveTarget } from "./ssh/target.ts";
import type { TargetContext } from "./ssh/target.ts";
import { WorkerClient } from "./worker-client.ts";

/** One attempt to log in. */
const ATTEMPT_MS: Milliseconds = 15_000;
/** Between two attempts: a machine that is just starting may be there the next moment, or in a minute. */
const FIRST_RETRY_MS: Milliseconds = 200;
const RETRY_MS: Milliseconds = 1000;

export class NodeSession {
  readonly node: PoolNode;
  private readonly pool: string;
  private readonly bundle: Bundle;
  private readonly target: TargetContext;
  private connecting: Promise<SshConnection> | undefined;
  private ssh: SshConnection | undefined;
  private probed: Probe | undefined;
  private program: WorkerProgram | undefined;
  private client: WorkerClient | undefined;

  constructor(node: PoolNode, pool: string, bundle: Bundle, target: TargetContext) {
    this.node = node;
    this.pool = pool;
    this.bundle = bundle;
    this.target = target;
  }

  /**
   * The login, made when there is none.
   *
   * @param retry goes on trying while nothing answers, until the signal fires or this rejects, which is asked before
   *   each attempt: for machines that are just starting
   */
  async connection(signal: AbortSignal, retry?: () => Promise<void>): Promise<SshConnection> {
    if (this.ssh?.isOpen) return this.ssh;
    this.client = undefined;
    this.connecting ??= this.login(signal, retry).finally(() => {
      this.connecting = undefined;
    });
    this.ssh = await this.connecting;
    return this.ssh;
  }

  private async login(signal: AbortSignal, retry?: () => Promise<void>): Promise<SshConnection> {
    const target = await resolveTarget(this.node, this.target);
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS)) {
      try {
        return await connect(target, { signal, timeoutMs: ATTEMPT_MS });
      } catch (error) {
        if (!retry || !HawserError.is(error, "ssh_unreachable")) throw error;
        await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
        await retry();
      }
    }
  }

  /** Whether a login has ever been answered. */
  get wasReached(): boolean {
    return this.probed !== undefined;
  }

  /** What the node is. Asked once. */
  async facts(signal: AbortSignal): Promise<Probe> {
    if (this.probed) return this.probed;
    const ssh = await this.connection(signal);
    // Which parts are wanted depends on the machine, which is not known yet: both kinds are asked about at once.
    const names = (await Promise.all((["x64", "arm64"] as const).map((arch) => this.partNames(arch)))).flat();
    this.probed = await probe(ssh, names, signal);
    return this.probed;
  }

  /** The GPUs as they are now. */
  async gpus(signal: AbortSignal): Promise<Gpus> {
    const facts = await this.facts(signal);
    const gpus = await probeGpus(await this.connection(signal), signal);
    this.probed = { ...facts, ...gpus };
    return gpus;
  }

  private async partNames(arch: "x64" | "arm64"): Promise<string[]> {
    // Another kind of machine's parts may not be there to be named; `install` says so where they are needed.
    if (process.platform !== "linux" || process.arch !== arch) return [];
    return (await this.bundle.partsFor(arch)).map(({ name }) => name);
  }

  /** @returns bytes that were sent */
  async bootstrap(signal: AbortSignal): Promise<number> {
    const facts = await this.facts(signal);
    const { program, sentBytes } = await install(await this.connection(signal), facts, this.bundle, signal);
    this.program = program;
    if (sentBytes > 0)
      this.probed = { ...facts, parts: (await this.bundle.partsFor(facts.arch)).map(({ name }) => name) };
    return sentBytes;
  }

  /** Whether the node has anything of this pool, installed or not. */
  async knowsPool(signal: AbortSignal): Promise<boolean> {
    const { sudo } = await this.facts(signal);
    const ssh = await this.connection(signal);
    const { code } = await ssh.run(`${sudo}test -e ${WORKER_ROOT}/pools/${shellQuote(this.pool)}`, {
      signal,
    });
    return code === 0;
  }

  /** The worker, started where it does not run. `bootstrap` comes first. */
  async worker(signal: AbortSignal): Promise<WorkerClient> {
    const ssh = await this.connection(signal);
    if (this.client) return this.client;
    const { arch, sudo, systemd } = await this.facts(signal);
    this.program ??= programOf(await this.bundle.partsFor(arch));
    const flags = `--start${systemd ? " --systemd" : ""}`;
    this.client = await WorkerClient.open(
      ssh,
      `${sudo}${this.program.command} worker connect ${shellQuote(this.pool)} ${flags}`,
      signal,
    );
    return this.client;
  }

  /** The worker's own Node.js, on the node. */
  async nodeProgram(signal: AbortSignal): Promise<string> {
    const { arch } = await this.facts(signal);
    this.program ??= programOf(await this.bundle.partsFor(arch));
    return this.program.node;
  }

  /** Forgets a connection that broke, so that the next use makes another. */
  reset(): void {
    this.client?.close();
    this.client = undefined;
    this.ssh?.close();
    this.ssh = undefined;
  }

  close(): void {
    this.reset();
  }
}
