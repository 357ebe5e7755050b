/** A writable mount whose daemon is killed, and what the bucket holds of it. */
import { readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { abortConnection } from "../../src/daemon/detach.ts";
import { mountAt } from "../../src/daemon/mountinfo.ts";
import type { Fault } from "../../src/devs3/index.ts";
import { World, eventually, isRunning } from "../e2e/harness.ts";
import type { Run, RunningProgram } from "../e2e/harness.ts";
import { objectsTree, openMultiparts, storedObjects } from "../e2e/stored-tree.ts";
import type { Tree } from "../e2e/stored-tree.ts";
import { testClient } from "../support/dev-s3.ts";

const PREFIX = "volume/";
/** Only bounds how long a command that hangs is waited for: what is looked for in the bucket alone takes ten seconds. */
const COMMAND_MS = 600_000;
/** Of the daemon's log, what a failure tells. */
const LOG_CHARACTERS = 6000;

export class CrashWorld implements AsyncDisposable {
  /** Local files, for what is compared with. */
  readonly scratch: string;
  readonly mounted: string;
  readonly world: World;

  private constructor(scratch: string, world: World) {
    this.scratch = scratch;
    this.world = world;
    this.mounted = path.join(world.folder, "mnt");
  }

  static async open(): Promise<CrashWorld> {
    const world = await World.open();
    const opened = new CrashWorld(await mkdtemp(path.join(tmpdir(), "hawser-crash-")), world);
    await world.mountPoint();
    await opened.mount();
    return opened;
  }

  /** Mounts, where a dead mount may still be. */
  async mount(): Promise<void> {
    const url = `s3://${this.world.bucket}/${PREFIX}`;
    const { code, stderr } = await this.hawser(["mount", url, this.mounted, "--writable"]);
    if (code !== 0) throw new Error(`hawser mount ended with ${code}: ${stderr}`);
  }

  hawser(args: readonly string[]): Promise<Run> {
    return this.world.hawser(args, { timeoutMs: COMMAND_MS });
  }

  start(file: string, args: readonly string[]): RunningProgram {
    return this.world.start(file, args);
  }

  /** Keeps a request from being answered well, so that the daemon can be killed meanwhile. */
  faultAt(point: { operation: string; effect: "before" | "after"; keyPrefix?: string }): Fault {
    const { operation, effect, keyPrefix } = point;
    const how = effect === "before" ? { error: "SlowDown" } : { count: 1, hold: true };
    return this.world.s3.faults.add({ operation, keyPrefix, ...how });
  }

  /** Kills the daemon, and mounts again once `meanwhile` has ended. */
  async crash(meanwhile?: Promise<unknown>): Promise<void> {
    const pid = this.#daemon();
    process.kill(pid, "SIGKILL");
    await eventually("the daemon ends", () => !isRunning(pid));
    this.world.s3.faults.clear();
    await meanwhile;
    await this.mount();
  }

  async bucketTree(): Promise<Tree> {
    const client = testClient(this.world.s3);
    const objects = await storedObjects(client, this.world.bucket, PREFIX);
    client.destroy();
    return objectsTree(objects);
  }

  async openMultiparts(): Promise<string[]> {
    const client = testClient(this.world.s3);
    const left = await openMultiparts(client, this.world.bucket);
    client.destroy();
    return left;
  }

  /** A failure of the work tells the end of the daemons' log. */
  async withLogs(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const logs = await this.world.logs();
      if (error instanceof Error) error.message += `\n${logs.slice(-LOG_CHARACTERS)}`;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever still waits for the mount goes on with an error.
    const mount = mountAt(this.mounted);
    if (mount) abortConnection(mount);
    await this.world.close();
    await rm(this.scratch, { recursive: true, force: true });
  }

  #daemon(): number {
    const { stateDir } = this.world;
    for (const name of readdirSync(stateDir)) {
      try {
        const text = readFileSync(path.join(stateDir, name, "owner.json"), "utf8");
        const { pid } = JSON.parse(text) as { pid: number };
        if (isRunning(pid)) return pid;
      } catch {
        // Not a mount's folder.
      }
    }
    throw new Error("no daemon is running");
  }
}
