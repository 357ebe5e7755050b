/**
 * Pools, as the program and the library use them.
 *
 * ```js
 * await using pool = await Pool.up({ pool: { name: "train", hosts: ["ubuntu@10.0.0.5"] }, volumes: [...] });
 * await pool.exec("nvidia-smi", { node: 0 });
 * ```
 *
 * A pool is found again by its name, from any process of the same user: what is kept in memory here is only a hold on
 * it. One command at a time has a pool; the lock is given back by `close`.
 */
import { setMaxListeners } from "node:events";
import { dirname } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { FileContent, NamedVolume } from "../config/file.ts";
import { providerOf } from "../config/pool.ts";
import type { PoolInput } from "../config/pool.ts";
import { parsePoolRequest } from "../config/request.ts";
import type { TaskInput } from "../config/task.ts";
import { splitCredentials } from "../daemon/volume-request.ts";
import type { VolumeOptions } from "../daemon/volume-request.ts";
import type { CredentialProvider } from "../store/credentials.ts";
import { callOnNodes } from "./call.ts";
import { allOrThrow, eachNode } from "./each.ts";
import type { Outcome } from "./each.ts";
import { endPool } from "./ending.ts";
import type { EndOptions } from "./ending.ts";
import { execOnNodes } from "./exec.ts";
import type { ExecResult } from "./exec.ts";
import type { JobResult } from "./job-run.ts";
import type { PoolNode } from "./node.ts";
import { PoolContext } from "./pool-context.ts";
import type { GivenCredentials, PoolOptions } from "./pool-context.ts";
import { PoolFolder, poolOwner, poolRoot } from "./pool-folder.ts";
import { RECORD_VERSION, recordVolume } from "./pool-record.ts";
import type { PoolRecord } from "./pool-record.ts";
import { planPool, preparePool } from "./prepare.ts";
import type { ProviderPlan } from "./provider.ts";
import { startPool, stopPool } from "./stopping.ts";
import type { StopOptions } from "./stopping.ts";
import { prepareTask, runTask } from "./task.ts";
import type { RunOptions } from "./task.ts";
import type { WorkerStatus } from "./worker/protocol.ts";

/** What a pool is made from: a file's content, and where relative paths begin. */
export interface PoolRequest extends FileContent {
  /** Absolute. */
  baseFolder: string;
  /** The file itself, where keys of volumes can be read again. */
  configPath?: string | undefined;
  /** Keys and functions of a program, by the volume's name. */
  credentials?: GivenCredentials | undefined;
}

export class Pool implements AsyncDisposable {
  readonly name: string;
  readonly context: PoolContext;
  private readonly release: () => void;

  private constructor(context: PoolContext, release: () => void) {
    this.name = context.record.name;
    this.context = context;
    this.release = release;
  }

  /**
   * Takes a pool for one command: the one of that name where there is one, with what the request says newly.
   *
   * @throws HawserError `pool_busy`, `invalid_argument`
   */
  static async take(request: PoolRequest, command: string, options: PoolOptions = {}): Promise<Pool> {
    const environment = options.environment ?? process.env;
    const root = poolRoot(environment);
    const { pool: config } = request;
    if (!config) throw new HawserError("invalid_argument", "There is no pool: in the configuration.");
    const folder = new PoolFolder(root, config.name);
    const release = folder.lock(command);
    try {
      const present = folder.read();
      if (present && present.provider !== providerOf(config)) {
        throw new HawserError(
          "invalid_argument",
          `The pool '${config.name}' exists with other machines (${present.provider}); end it with 'hawser pool down ${config.name}' first.`,
        );
      }
      const record = recordFor(request, present, root, options.clock?.now() ?? Date.now());
      return new Pool(await PoolContext.open(folder, record, options, request.credentials), release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * The pool of that name.
   *
   * @param command takes the pool for it; without one, the pool is only looked at
   * @throws HawserError `pool_not_found`, `pool_busy`
   */
  static async find(name: string, command: string | undefined, options: PoolOptions = {}): Promise<Pool> {
    const root = poolRoot(options.environment);
    const folder = new PoolFolder(root, name);
    if (!folder.exists()) throw poolNotFound(root, name);
    const release = command === undefined ? () => {} : folder.lock(command);
    try {
      const record = folder.read();
      if (!record) throw poolNotFound(root, name);
      return new Pool(await PoolContext.open(folder, record, options), release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The same pool for another part of the same command, which keeps the lock: with other options. */
  static async again(name: string, holder: Pool, options: PoolOptions): Promise<Pool> {
    const root = poolRoot(options.environment);
    const folder = new PoolFolder(root, name);
    return new Pool(
      await PoolContext.open(folder, folder.read() ?? holder.context.record, options),
      () => {},
    );
  }

  /** Makes a pool, or what is missing of it, and resolves when every volume has answered on every node. */
  static async up(wanted: PoolRequest | PoolOptionsInput, options: PoolOptions = {}): Promise<Pool> {
    const pool = await Pool.take("task" in wanted ? wanted : requestFromProgram(wanted), "up", options);
    try {
      await pool.prepare();
      return pool;
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  get nodes(): readonly PoolNode[] {
    return this.context.record.nodes;
  }

  /** What would happen; changes nothing. */
  plan(): Promise<ProviderPlan> {
    return planPool(this.context);
  }

  /**
   * Machines, worker, mounts; then files and setup.
   *
   * @param options.endsWithRun the pool is only there for the command that makes it
   */
  async prepare({ endsWithRun = false } = {}): Promise<void> {
    await preparePool(this.context, { endsWithRun });
    await prepareTask(this.context);
  }

  /** Runs the job to its end; `undefined` when it was left running. */
  run(options: RunOptions = {}): Promise<JobResult | undefined> {
    return runTask(this.context, options);
  }

  /**
   * Runs a command in the work folder, with the job's environment.
   *
   * @param options.node one node by index or id; all of them when absent
   * @throws HawserError `ssh_unreachable`, …: a command that fails is an answer, not an error
   */
  async exec(
    command: string | readonly string[],
    {
      node,
      onLine,
    }: { node?: number | string; onLine?: (rank: number, stream: "out" | "err", line: string) => void } = {},
  ): Promise<ExecResult[]> {
    const nodes = node === undefined ? this.nodes : [this.context.node(node)];
    return allOrThrow(
      await execOnNodes(this.context, command, { nodes, signal: this.context.signal, onLine }),
    );
  }

  /** The same on every node. */
  broadcast(command: string | readonly string[]): Promise<ExecResult[]> {
    return this.exec(command);
  }

  /**
   * Calls an exported function of a module on nodes; arguments and results are JSON.
   *
   * @param module path of a JavaScript module, which goes to the nodes with its folder
   * @returns one promise a node, in their order: for `gather`
   */
  call(
    module: string,
    name: string,
    args: readonly unknown[] = [],
    { node }: { node?: number | string } = {},
  ): Promise<unknown>[] {
    const nodes = node === undefined ? this.nodes : [this.context.node(node)];
    return nodes.map(async (each) => {
      const wanted = { module, name, argumentsFor: () => args };
      return allOrThrow(await callOnNodes(this.context, wanted, [each]))[0];
    });
  }

  /** Sends workdir and files again, where they changed, and runs setup again, where that is due. */
  async push(): Promise<void> {
    await prepareTask(this.context);
  }

  /**
   * Drains, unmounts, and switches off machines that are ours.
   *
   * @throws HawserError `not_supported` where they cannot be switched off, `drain_failed`
   */
  async stop(options: StopOptions = {}): Promise<void> {
    await stopPool(this.context, options);
  }

  /** Switches the machines of a stopped pool on, mounts and proves again. */
  async start(): Promise<void> {
    await startPool(this.context);
    await prepareTask(this.context);
  }

  /** How each node does, in order; an error for one that does not answer. */
  async status(signal: AbortSignal = this.context.signal): Promise<Outcome<WorkerStatus>[]> {
    setMaxListeners(0, signal);
    return await eachNode(this.nodes, async (node) => {
      const worker = await this.context.session(node).worker(signal);
      return await worker.call("status", {}, { signal });
    });
  }

  /** Moves the end of the pool, on the nodes first. `undefined`: never. */
  async extend(ttlMs: Milliseconds | undefined): Promise<EpochMs | undefined> {
    const { context } = this;
    const expiresMs = ttlMs === undefined ? undefined : context.clock.now() + ttlMs;
    // Nodes that are switched off are told when they are started.
    const on = context.record.phase === "stopped" && context.provider.switchesOff ? [] : this.nodes;
    allOrThrow(
      await eachNode(on, async (node) => {
        const worker = await context.session(node).worker(context.signal);
        await worker.call("extend", { expiresMs: expiresMs ?? null }, { signal: context.signal });
      }),
    );
    await context.provider.extend(context.providerContext(), expiresMs);
    context.moveEnd(expiresMs);
    return expiresMs;
  }

  /**
   * Drains, releases and removes everything; the name is free afterwards.
   *
   * @throws HawserError `drain_failed` with the nodes that were kept
   */
  async down(options: EndOptions = {}): Promise<void> {
    await endPool(this.context, options);
  }

  /** Lets go of the pool, which lives on. May be called twice. */
  close(): void {
    this.context.close();
    this.release();
  }

  /** Ends the pool, unless it was ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.context.folder.exists()) await this.down();
    } finally {
      this.close();
    }
  }
}

function poolNotFound(root: string, name: string): HawserError {
  const names = PoolFolder.list(root).map((folder) => folder.name);
  const known =
    names.length > 0
      ? `; there ${names.length === 1 ? "is" : "are"} ${names.join(", ")}.`
      : "; there is none.";
  return new HawserError("pool_not_found", `There is no pool '${name}'${known}`);
}

/** A new record, or the present one with what is asked for now. */
function recordFor(
  request: PoolRequest,
  present: PoolRecord | undefined,
  root: string,
  nowMs: EpochMs,
): PoolRecord {
  const { pool: config, volumes, task, baseFolder, configPath } = request;
  const { name, ttl } = config!;
  const asked = {
    config: config!,
    volumes: volumes.map(recordVolume),
    task,
    baseFolder,
    configPath,
  };
  if (present) return { ...present, ...asked };
  return {
    version: RECORD_VERSION,
    name,
    provider: providerOf(config!),
    phase: "provisioning",
    owner: poolOwner(root),
    createdMs: nowMs,
    expiresMs: ttl === undefined ? undefined : nowMs + ttl,
    ...asked,
    nodes: [],
    writers: [],
    kept: [],
    timings: [],
  };
}

/** What a program gives: the keys of hawser.yaml, with credentials that may be functions. */
export interface PoolOptionsInput extends TaskInput {
  pool: PoolInput;
  volumes?: (VolumeOptions & { name?: string })[];
}

/** @throws HawserError `invalid_argument` */
function requestFromProgram({ volumes = [], ...rest }: PoolOptionsInput): PoolRequest {
  const split = volumes.map(splitCredentials);
  const content = parsePoolRequest({
    ...rest,
    ...(split.length > 0 ? { volumes: split.map(({ raw }) => raw) } : {}),
  });
  const credentials = new Map<string, CredentialProvider | NamedVolume["credentials"]>();
  content.volumes.forEach(({ name, credentials: configured }, i) => {
    const given = split[i]!.provider ?? configured;
    if (given !== undefined) credentials.set(name, given);
  });
  return { ...content, baseFolder: process.cwd(), credentials };
}

/** A request from a loaded file. */
export function requestFromFile(loaded: FileContent & { path: string }): PoolRequest {
  const { volumes, pool, task, path } = loaded;
  return { volumes, pool, task, baseFolder: dirname(path), configPath: path };
}
