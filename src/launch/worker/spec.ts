/** What a worker is told of its pool: kept on the node, so that the worker works on without the launcher. No secrets. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { EpochMs, Milliseconds } from "../../common/units.ts";
import type { ConnectionOptions } from "../../transfer/connection.ts";
import type { PoolOwner } from "../provider.ts";
import type { RecordedVolume } from "../pool-record.ts";

/** Below the worker's root: one folder for each pool, of root alone. */
export const POOLS_FOLDER = "/var/lib/hawser/pools";
/** Where a volume of a pool caches content, where hawser.yaml does not say. */
export const DEFAULT_CACHE = "/var/cache/hawser";
export const DEFAULT_STAGING = "/var/lib/hawser/staging";

export interface WorkerUser {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

export interface WorkerVolume {
  config: RecordedVolume;
  /** The launcher hands credentials over; otherwise the node has its own. */
  handed: boolean;
}

/** An input or an output of this node: placeholders are filled in. */
export interface WorkerTransfer {
  direction: "input" | "output";
  /** The address of an input, the path of an output; relative ones are below the work folder. */
  from: string;
  to: string;
  /** Globs. */
  exclude: string[];
  store: Pick<
    ConnectionOptions,
    "storage" | "region" | "endpoint" | "addressing" | "accountId" | "requestPayer"
  >;
  anonymous: boolean;
  /** Name of the credentials that the launcher hands over; the node's own where absent. */
  credentials?: string | undefined;
}

/** Another node, as this one reaches it. */
export interface WorkerPeer {
  rank: number;
  address: string;
  gpus: number;
}

export interface WorkerSpec {
  pool: string;
  owner: PoolOwner;
  rank: number;
  /** All of them, this one too, in order of rank. */
  peers: WorkerPeer[];
  /** Whose job it is: files belong to them, mounts let them in. */
  user: WorkerUser;
  volumes: WorkerVolume[];
  /** None in what an older launcher wrote. */
  transfers?: WorkerTransfer[] | undefined;
  /** Folder in memory for what must not reach a disk. */
  memoryFolder: string;
  systemd: boolean;
  /** When the pool ends, whether or not a launcher is there. */
  expiresMs: EpochMs | undefined;
  /** End after this long without job, login or busy GPU. */
  idleMs: Milliseconds | undefined;
  /** What the end of the pool means: leave the machine as it was, or switch it off, which ends it. */
  atEnd: "release" | "poweroff";
  /** The machine is an instance of EC2, whose metadata service tells of its end. */
  notices: boolean;
  /** What the provider said of the machine, for programs that ask. */
  facts: Record<string, unknown>;
}

export class WorkerFolder {
  readonly pool: string;
  readonly path: string;

  constructor(pool: string) {
    // The name reaches this from a command line as root.
    if (!/^[a-z0-9-]{1,40}$/.test(pool)) {
      throw new HawserError("invalid_argument", `'${pool}' is not the name of a pool.`);
    }
    this.pool = pool;
    this.path = join(POOLS_FOLDER, pool);
  }

  get specPath(): string {
    return join(this.path, "pool.json");
  }
  get socketPath(): string {
    return join(this.path, "control");
  }
  get lockPath(): string {
    return join(this.path, "daemon.json");
  }
  get logPath(): string {
    return join(this.path, "log");
  }
  get jobsPath(): string {
    return join(this.path, "jobs");
  }
  get usagePath(): string {
    return join(this.path, "usage.json");
  }
  get manifestPath(): string {
    return join(this.path, "files.json");
  }

  /** @returns `undefined` where there is no such pool */
  spec(): WorkerSpec | undefined {
    try {
      return JSON.parse(readFileSync(this.specPath, "utf8")) as WorkerSpec;
    } catch {
      return undefined;
    }
  }

  /** What was noted under a name; nothing when never. */
  marker(name: string): string | null {
    try {
      return readFileSync(this.markerPath(name), "utf8");
    } catch {
      return null;
    }
  }

  setMarker(name: string, value: string): void {
    writeFileSync(this.markerPath(name), value, { mode: 0o600 });
  }

  private markerPath(name: string): string {
    if (!/^[a-z0-9-]{1,40}$/.test(name))
      throw new HawserError("invalid_argument", `'${name}' is not a name.`);
    return join(this.path, `marker-${name}`);
  }

  /** The folder that setup and job run in. */
  static workFolder({ pool, user }: Pick<WorkerSpec, "pool" | "user">): string {
    return join(user.home, "hawser", pool);
  }

  credentialsPath({ memoryFolder }: Pick<WorkerSpec, "memoryFolder">, volume: string): string {
    return join(this.memoryPath({ memoryFolder }), `${volume}.json`);
  }

  memoryPath({ memoryFolder }: Pick<WorkerSpec, "memoryFolder">): string {
    return join(memoryFolder, "hawser-pools", this.pool);
  }
}
