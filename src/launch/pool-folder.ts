/**
 * Pool folders: what this machine knows of each pool, one folder a name, below one root a user.
 *
 * `pool.json` is the record, replaced whole by a rename; `lock` names the process that works on the pool. The record
 * is written before what it speaks of is made, so that the next `hawser pool down` finds everything that a killed
 * launcher left. A folder is removed only after nothing of its pool is left.
 */
import { randomUUID } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, hostname, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import { identify } from "../daemon/process-table.ts";
import type { PoolRecord } from "./pool-record.ts";
import { parseRecord } from "./pool-record.ts";
import type { PoolOwner } from "./provider.ts";

/**
 * Where this user's pools are kept: HAWSER_POOL_DIR, else below HAWSER_STATE_DIR, else
 * $XDG_STATE_HOME/hawser/pools, which is ~/.local/state/hawser/pools. Unlike mounts, pools outlive a restart of this
 * machine, so never below /run.
 */
export function poolRoot(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment["HAWSER_POOL_DIR"]) return environment["HAWSER_POOL_DIR"];
  if (environment["HAWSER_STATE_DIR"]) return join(environment["HAWSER_STATE_DIR"], "pools");
  return join(environment["XDG_STATE_HOME"] ?? join(homedir(), ".local", "state"), "hawser", "pools");
}

/** A process that works on a pool, told apart from a later one with its number where /proc tells. */
interface LockHolder {
  pid: number;
  startTicks: number | undefined;
  command: string;
  sinceMs: EpochMs;
}

export class PoolFolder {
  readonly name: string;
  readonly path: string;

  constructor(root: string, name: string) {
    this.name = name;
    this.path = join(root, name);
  }

  /** Every pool with a record. */
  static list(root: string): PoolFolder[] {
    let names: string[];
    try {
      names = readdirSync(root);
    } catch {
      return [];
    }
    return names
      .sort()
      .map((name) => new PoolFolder(root, name))
      .filter((folder) => folder.exists());
  }

  get recordPath(): string {
    return join(this.path, "pool.json");
  }
  /** What happened, one JSON object a line. */
  get eventsPath(): string {
    return join(this.path, "events.jsonl");
  }
  /** Output of the last job, one file a rank. */
  get logsPath(): string {
    return join(this.path, "logs");
  }
  private get lockPath(): string {
    return join(this.path, "lock");
  }

  exists(): boolean {
    try {
      readFileSync(this.recordPath);
      return true;
    } catch {
      return false;
    }
  }

  /** @returns `undefined` when there is none @throws HawserError `config_invalid` when it is another version's */
  read(): PoolRecord | undefined {
    let text: string;
    try {
      text = readFileSync(this.recordPath, "utf8");
    } catch {
      return undefined;
    }
    return parseRecord(text, this.recordPath);
  }

  /** Whether there is a record that tells nothing; another version's is none of these. */
  isDamaged(): boolean {
    try {
      JSON.parse(readFileSync(this.recordPath, "utf8"));
      return false;
    } catch (error) {
      return error instanceof SyntaxError;
    }
  }

  /** Replaces the record, whole or not at all. */
  write(record: PoolRecord): void {
    this.make();
    const temporary = `${this.recordPath}.${process.pid}`;
    writeFileSync(temporary, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
    renameSync(temporary, this.recordPath);
  }

  /** Where the output of its last job is once the pool has ended; the next pool of the name replaces it. */
  get keptLogsPath(): string {
    return join(dirname(this.path), ".logs", this.name);
  }

  /** Removes everything of the pool from this machine but the output of its last job. */
  remove(): void {
    if (existsSync(this.logsPath)) {
      mkdirSync(dirname(this.keptLogsPath), { recursive: true, mode: 0o700 });
      rmSync(this.keptLogsPath, { recursive: true, force: true });
      renameSync(this.logsPath, this.keptLogsPath);
    }
    rmSync(this.path, { recursive: true, force: true });
  }

  /**
   * Takes the pool for one command of this process.
   *
   * @param command what is being done, for whoever finds it taken
   * @returns gives it back; may be called twice
   * @throws HawserError `pool_busy` with who has it
   */
  lock(command: string): () => void {
    this.make();
    const own: LockHolder = {
      pid: process.pid,
      startTicks: identify(process.pid)?.startTicks,
      command,
      sinceMs: Date.now(),
    };
    const temporary = `${this.lockPath}.${process.pid}.${randomUUID()}`;
    writeFileSync(temporary, JSON.stringify(own), { mode: 0o600 });
    try {
      for (;;) {
        try {
          linkSync(temporary, this.lockPath);
          break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        }
        const holder = this.holder();
        if (holder && isWorking(holder)) throw this.busy(holder);
        rmSync(this.lockPath, { force: true });
      }
    } finally {
      rmSync(temporary, { force: true });
    }
    let held = true;
    return () => {
      if (held && this.holder()?.pid === process.pid) rmSync(this.lockPath, { force: true });
      held = false;
    };
  }

  /** What works on the pool right now. */
  holder(): LockHolder | undefined {
    try {
      const holder = JSON.parse(readFileSync(this.lockPath, "utf8")) as LockHolder;
      return isWorking(holder) ? holder : undefined;
    } catch {
      return undefined;
    }
  }

  private busy({ pid, command, sinceMs }: LockHolder): HawserError {
    return new HawserError(
      "pool_busy",
      `'hawser pool ${command}' (process ${pid}, since ${new Date(sinceMs).toISOString()}) works on the pool '${this.name}'; wait for it, or end it.`,
    );
  }

  private make(): void {
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
    chmodSync(this.path, 0o700);
  }
}

function isWorking({ pid, startTicks }: LockHolder): boolean {
  if (startTicks !== undefined) return identify(pid)?.startTicks === startTicks;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Who this user of this machine is to others; made at its first use. */
export function poolOwner(root: string): PoolOwner {
  const path = join(root, ".owner");
  const read = (): PoolOwner => JSON.parse(readFileSync(path, "utf8")) as PoolOwner;
  try {
    return read();
  } catch {
    const owner: PoolOwner = { id: randomUUID(), label: `${userName()}@${hostname()}` };
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify(owner), { mode: 0o600 });
    try {
      // Not a rename: whoever was first stays.
      linkSync(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
    return read();
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? "user");
  }
}
