/**
 * Jobs: processes that outlive whoever started them.
 *
 * A job is the leader of a session of its own; its output goes straight into a file, and the shell around it writes its
 * exit code into another. So neither the launcher nor the worker has to be there for it: a worker that is started again
 * finds the process by its identity, or the code it ended with.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { Bytes, EpochMs, Milliseconds } from "../../common/units.ts";
import { identify, isAlive } from "../../daemon/process-table.ts";
import type { ProcessIdentity } from "../../daemon/process-table.ts";
import { RUN_VARIABLE, processesOfJob } from "./job-processes.ts";
import type { JobStart, JobState, LogPiece } from "./protocol.ts";
import type { WorkerUser } from "./spec.ts";

/**
 * What is around every job; `3` is the file for its exit code, which the job itself does not get. A signal to the group
 * reaches the job, which may have a last checkpoint to write; the shell waits for it and tells its code.
 */
const WRAPPER = `trap : TERM INT; "$@" 3>&-; code=$?; echo $code >&3; exit $code`;
/** How long a job may take to end after SIGTERM, before SIGKILL: as long as torchrun gives its own processes. */
const GRACE_MS: Milliseconds = 30_000;
/** How often the end of a process that is not our child is looked for, and output that no event told. */
const LOOK_MS: Milliseconds = 100;
/** Fits, as base64, into a line of the control protocol. */
const PIECE_BYTES: Bytes = 256 * 1024;

interface JobRecord {
  run: string;
  process: ProcessIdentity;
  startedMs: EpochMs;
}

export class Job {
  readonly name: string;
  private readonly folder: string;

  constructor(jobsFolder: string, name: string) {
    if (!/^[a-z0-9-]{1,40}$/.test(name))
      throw new HawserError("invalid_argument", `'${name}' is not the name of a job.`);
    this.name = name;
    this.folder = join(jobsFolder, name);
  }

  get logPath(): string {
    return join(this.folder, "log");
  }
  private get recordPath(): string {
    return join(this.folder, "job.json");
  }
  private get exitPath(): string {
    return join(this.folder, "exit");
  }

  private record(): JobRecord | undefined {
    try {
      return JSON.parse(readFileSync(this.recordPath, "utf8")) as JobRecord;
    } catch {
      return undefined;
    }
  }

  /** @returns `undefined` for a job that never ran */
  state(): JobState | undefined {
    const record = this.record();
    if (!record) return undefined;
    const { run, startedMs } = record;
    const base = {
      name: this.name,
      run,
      startedMs,
      logBytes: existsSync(this.logPath) ? statSync(this.logPath).size : 0,
    };
    const exit = this.exitCode();
    if (exit === undefined && isAlive(record.process)) return base;
    // Killed with the shell around it: no code was written.
    const endedMs = existsSync(this.exitPath) ? Math.round(statSync(this.exitPath).mtimeMs) : startedMs;
    return { ...base, code: this.exitCode() ?? 137, endedMs };
  }

  private exitCode(): number | undefined {
    try {
      const text = readFileSync(this.exitPath, "utf8").trim();
      return /^\d+$/.test(text) ? Number(text) : undefined;
    } catch {
      return undefined;
    }
  }

  get isRunning(): boolean {
    const state = this.state();
    return state !== undefined && state.code === undefined;
  }

  /** Starts it, unless the very same run was started before. @throws HawserError `pool_busy` while another run is under way */
  async start({ argv, env, run }: JobStart, user: WorkerUser, cwd: string): Promise<JobState> {
    const present = this.state();
    if (present?.run === run) return present;
    if (present && present.code === undefined) {
      throw new HawserError(
        "pool_busy",
        `The job '${this.name}' is still running on this node; stop it, or follow it with 'hawser pool logs -f'.`,
      );
    }
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true, mode: 0o755 });
    const log = openSync(this.logPath, "a", 0o644);
    const exit = openSync(this.exitPath, "w", 0o644);
    try {
      const child = spawn(...asUser(user, ["sh", "-c", WRAPPER, "sh", ...argv]), {
        cwd,
        env: { ...baseEnvironment(user), ...env, [RUN_VARIABLE]: run },
        detached: true,
        stdio: ["ignore", log, log, exit],
      });
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", reject);
      });
      child.unref();
      const process = identify(child.pid!) ?? { pid: child.pid!, startTicks: -1 };
      const record: JobRecord = { run, process, startedMs: Date.now() };
      writeFileSync(this.recordPath, JSON.stringify(record), { mode: 0o600 });
    } catch (error) {
      throw new HawserError("node_failed", `The job could not be started: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      closeSync(log);
      closeSync(exit);
    }
    return this.state()!;
  }

  /** Output from `offset` on, until the job has ended and everything was given. */
  async follow(offset: Bytes, onPiece: (piece: LogPiece) => void, signal: AbortSignal): Promise<JobState> {
    let at = offset;
    const read = (): void => {
      for (let piece = this.read(at); piece; piece = this.read(at)) {
        onPiece({ offset: at, data: piece.toString("base64") });
        at += piece.length;
      }
    };
    for (;;) {
      signal.throwIfAborted();
      const state = this.state();
      if (!state) throw new HawserError("not_found", `There is no job '${this.name}' on this node.`);
      read();
      if (state.code !== undefined) {
        read();
        return state;
      }
      await this.change();
    }
  }

  private read(at: Bytes): Buffer | undefined {
    const fd = openSync(this.logPath, "r");
    try {
      const buffer = Buffer.allocUnsafe(PIECE_BYTES);
      const length = readSync(fd, buffer, 0, PIECE_BYTES, at);
      return length > 0 ? buffer.subarray(0, length) : undefined;
    } finally {
      closeSync(fd);
    }
  }

  /** Something may have changed. */
  private change(): Promise<void> {
    return new Promise((resolve) => {
      const watcher = watch(this.folder, () => done());
      const timer = setTimeout(() => done(), LOOK_MS);
      const done = (): void => {
        clearTimeout(timer);
        watcher.close();
        resolve();
      };
      watcher.once("error", done);
    });
  }

  /** Ends it and everything it has started: politely, then not. Also what outlived the job itself. */
  async stop(graceMs: Milliseconds = GRACE_MS): Promise<JobState | undefined> {
    const record = this.record();
    if (!record) return this.state();
    const processes = (): Promise<number[]> => processesOfJob(record.process, record.run);
    let left = await processes();
    // Whatever starts processes elsewhere ends them itself, in its order, while it is there.
    signalAll(isAlive(record.process) ? [-record.process.pid] : left, "SIGTERM");
    const deadline = performance.now() + graceMs;
    for (; left.length > 0 && performance.now() < deadline; left = await processes()) await this.change();
    for (; left.length > 0; left = await processes()) {
      signalAll(left, "SIGKILL");
      await this.change();
    }
    return this.state();
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}

/** As somebody who logs in has it. */
function baseEnvironment({ name, home }: WorkerUser): Record<string, string> {
  return {
    HOME: home,
    USER: name,
    LOGNAME: name,
    SHELL: "/bin/sh",
    LANG: process.env["LANG"] ?? "C.UTF-8",
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin:/usr/local/cuda/bin",
  };
}

const SETPRIV = "/usr/bin/setpriv";

/** A command line with all the groups of its user; Node.js itself would drop them, `docker` and `video` among them. */
export function asUser({ uid, gid }: WorkerUser, argv: readonly string[]): [string, string[]] {
  const [file, ...args] =
    uid === 0 ? argv : [SETPRIV, `--reuid=${uid}`, `--regid=${gid}`, "--init-groups", "--", ...argv];
  return [file!, args];
}
