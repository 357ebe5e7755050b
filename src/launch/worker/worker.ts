/**
 * The worker: one process of root's for each pool of a node.
 *
 * It answers the launcher, starts and ends jobs, and ends the pool by itself when its time has come or nobody uses it,
 * whether or not a launcher is there. Jobs and mounts are not its own: it may be killed and started again at any time,
 * and finds what there is in the pool's folder.
 */
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { EpochMs, Milliseconds } from "../../common/units.ts";
import { VERSION } from "../../daemon/version.ts";
import type { Logger } from "../../observe/logger.ts";
import { PushedFiles } from "./files.ts";
import { hasLogin } from "./logins.ts";
import { powerOff } from "./power-off.ts";
import { Job } from "./job.ts";
import { InstanceNotices } from "./instance-notices.ts";
import { WorkerMounts } from "./mounts.ts";
import { PROGRAM } from "./program.ts";
import { proveAsUser, unpackAsUser } from "./user-work.ts";
import type { DrainProgress, TransferResult, Unflushed, UsageSummary, WorkerHandlers } from "./protocol.ts";
import { WorkerTransfers } from "./transfers.ts";
import { WorkerFolder } from "./spec.ts";
import type { WorkerSpec } from "./spec.ts";
import { AfterRestart } from "./after-restart.ts";
import { removeUnit } from "./boot-unit.ts";
import { writeTopology } from "./topology.ts";
import { UsageMeter } from "./usage.ts";
import { addLook, summarize } from "./usage-history.ts";
import type { UsageSums } from "./usage-history.ts";

function readSums(path: string): UsageSums | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as UsageSums;
  } catch {
    return undefined;
  }
}

/** How often the end of the pool, and whether it is idle, are looked at. */
const WATCH_MS: Milliseconds = 2000;
/** How often what the node does is taken down: nvidia-smi is not free. */
const USAGE_MS: Milliseconds = 6000;
/** For the answer to whoever asked the node to be released. */
const LAST_WORDS_MS: Milliseconds = 3000;
/** Between two attempts of a worker that ends its pool by itself: what keeps data from its bucket may pass. */
const AGAIN_MS: Milliseconds = 30_000;
const TIME_IS_OVER = "its time is over";
/** A worker that was never given a pool ends when nobody is there to give it one. */
const UNUSED_MS: Milliseconds = 60_000;

export class Worker {
  /** Settles when the worker has nothing more to do. */
  readonly ended: Promise<void>;
  private readonly folder: WorkerFolder;
  private readonly log: Logger;
  private readonly usage = new UsageMeter();
  /** Of its own: each look is about the time since the meter's last one. */
  private readonly historyMeter = new UsageMeter();
  private sums: UsageSums | undefined;
  private readonly files: PushedFiles;
  private spec: WorkerSpec | undefined;
  private kept: Unflushed[] = [];
  private keptMs: EpochMs = 0;
  private readonly notices = new InstanceNotices();
  /** Until a launcher has told the pool anew, when this worker is the first one since the machine was restarted. */
  private afterRestart: AfterRestart | undefined;
  /** Why the pool ends although nobody asked the worker to. */
  private ending: string | undefined;
  private losesMachine = false;
  private end!: () => void;
  private draining: Promise<Unflushed[]> | undefined;
  private busyMs: EpochMs = Date.now();
  private readonly stopping = new AbortController();
  private watcher: NodeJS.Timeout | undefined;
  private looking = false;
  private left = false;
  private readonly startedMs: EpochMs = Date.now();

  constructor(folder: WorkerFolder, log: Logger) {
    this.folder = folder;
    this.log = log;
    this.files = new PushedFiles(folder.manifestPath);
    this.spec = folder.spec();
    if (this.spec && AfterRestart.isDue(folder, this.spec)) this.afterRestart = new AfterRestart(log);
    this.sums = readSums(folder.usagePath);
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  /** Begins to watch the clock. */
  begin(): void {
    this.watcher = setInterval(() => void this.look(), WATCH_MS);
  }

  close(): void {
    clearInterval(this.watcher);
    this.stopping.abort(new HawserError("closed", "The worker was ended."));
  }

  handlers(): WorkerHandlers {
    return {
      status: () => this.status(),
      adopt: async ({ spec }) => {
        const answer = this.adopt(spec);
        await this.takeDownUsage();
        return answer;
      },
      credentials: ({ volume, credentials }) => {
        this.mounts().hand(volume, credentials);
        return {};
      },
      mount: () => this.mounts().mountAll(),
      prove: async () => ({ proofs: await proveAsUser(this.required()) }),
      compare: ({ root, files }) => this.files.compare(root, files),
      unpack: async ({ root, archive, files }) => {
        await unpackAsUser(this.required().user, root, archive);
        this.files.remember(root, files);
        return {};
      },
      transfer: async ({ direction }) => ({
        results: await this.transfers().run(direction, this.stopping.signal),
      }),
      start: (wanted) => {
        this.busyMs = Date.now();
        return this.job(wanted.name).start(wanted, this.required().user, this.work());
      },
      follow: async ({ name, run, offset }, emit) => {
        const job = this.job(name);
        const state = job.state();
        if (!state || (run !== undefined && state.run !== run)) {
          throw new HawserError("not_found", `There is no such run of '${name}' on this node.`);
        }
        const ended = await job.follow(offset, emit, this.stopping.signal);
        const { ending, losesMachine } = this;
        return ending === undefined
          ? ended
          : { ...ended, stoppedBecause: ending, losesMachine, expired: ending === TIME_IS_OVER };
      },
      stop: async ({ name, graceMs }) => (await this.job(name).stop(graceMs)) ?? {},
      marker: ({ name, set }) => ({ value: this.marker(name, set) }),
      extend: ({ expiresMs }) => {
        this.afterRestart?.endIsKnown();
        this.save({ ...this.required(), expiresMs: expiresMs ?? undefined });
        return {};
      },
      drain: async (_params, emit) => ({ unflushed: await this.drain(emit) }),
      release: async ({ force }) => {
        await this.release(force ?? false);
        return {};
      },
      quit: () => {
        this.end();
        return {};
      },
    };
  }

  private required(): WorkerSpec {
    if (this.spec) return this.spec;
    throw new HawserError("pool_not_found", `This node is not one of the pool '${this.folder.pool}'.`);
  }

  private mounts(): WorkerMounts {
    return new WorkerMounts(this.folder, this.required());
  }

  private transfers(): WorkerTransfers {
    return new WorkerTransfers(this.folder, this.required());
  }

  private work(): string {
    return WorkerFolder.workFolder(this.required());
  }

  private job(name: string): Job {
    return new Job(this.folder.jobsPath, name);
  }

  private save(spec: WorkerSpec): void {
    const temporary = `${this.folder.specPath}.new`;
    writeFileSync(temporary, JSON.stringify(spec, null, 2), { mode: 0o600 });
    renameSync(temporary, this.folder.specPath);
    this.spec = spec;
  }

  private adopt(spec: WorkerSpec): { work: string } {
    const present = this.spec;
    if (present && present.owner.id !== spec.owner.id) {
      throw new HawserError(
        "pool_busy",
        `The pool '${spec.pool}' on this node is ${present.owner.label}'s; choose another name, or let them end theirs.`,
      );
    }
    const moved = present?.volumes.filter(
      ({ config }) => !spec.volumes.some((volume) => volume.config.mount === config.mount),
    );
    if (
      moved &&
      moved.length > 0 &&
      new WorkerMounts(this.folder, { ...present!, volumes: moved }).holdsAny
    ) {
      throw new HawserError(
        "pool_busy",
        `${moved[0]!.config.mount} is mounted here and is not in the configuration any more; end the pool with 'hawser pool down' first.`,
      );
    }
    this.save(spec);
    this.afterRestart = undefined;
    mkdirSync(this.folder.memoryPath(spec), { recursive: true, mode: 0o700 });
    this.left = false;
    this.kept = [];
    this.ending = undefined;
    this.busyMs = Date.now();
    const work = this.work();
    for (const folder of [join(spec.user.home, "hawser"), work]) {
      if (existsSync(folder)) continue;
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      chownSync(folder, spec.user.uid, spec.user.gid);
    }
    writeTopology(work, spec);
    return { work };
  }

  private async status() {
    return {
      spec: this.spec,
      version: VERSION,
      program: PROGRAM,
      jobs: ["setup", "job"].flatMap((name) => this.job(name).state() ?? []),
      mounts: this.spec ? await this.mounts().report() : [],
      kept: this.kept,
      usage: await this.usage.look(),
      history: await this.takeDownUsage(),
    };
  }

  /** Adds what the node does now to what it did. */
  private async takeDownUsage(): Promise<UsageSummary | undefined> {
    if (!this.spec) return undefined;
    this.sums = addLook(this.sums, await this.historyMeter.look(), Date.now());
    if (this.spec) writeFileSync(this.folder.usagePath, JSON.stringify(this.sums), { mode: 0o600 });
    return summarize(this.sums);
  }

  private marker(name: string, set: string | undefined): string | null {
    const present = this.folder.marker(name);
    if (set === undefined) return present;
    this.folder.setMarker(name, set);
    return set;
  }

  private async stopJobs(): Promise<void> {
    await Promise.all(["setup", "job"].map((name) => this.job(name).stop()));
  }

  private drain(onProgress: (progress: DrainProgress | TransferResult) => void): Promise<Unflushed[]> {
    this.draining ??= (async () => {
      await this.stopJobs();
      const unflushed = this.spec
        ? [
            ...(await this.transfers().unflushed(onProgress, this.stopping.signal)),
            ...(await this.mounts().drain(onProgress)),
          ]
        : [];
      this.kept = unflushed;
      return unflushed;
    })().finally(() => {
      this.draining = undefined;
    });
    return this.draining;
  }

  /** A machine that is to end does so by itself, should the launcher be gone before it has asked its provider. */
  private async release(force: boolean): Promise<void> {
    const atEnd = this.spec?.atEnd;
    await this.leave(force);
    if (atEnd !== "poweroff") this.end();
    else setTimeout(() => void powerOff(this.log), LAST_WORDS_MS);
  }

  /** Leaves the node as it was. */
  private async leave(force: boolean): Promise<void> {
    if (this.spec) {
      const unflushed = await this.drain(() => {});
      if (unflushed.length > 0 && !force) {
        throw new HawserError(
          "drain_failed",
          unflushed.map(({ mount, reason }) => `${mount}: ${reason}`).join("\n"),
        );
      }
      await this.mounts().remove();
    }
    this.left = true;
    rmSync(this.folder.specPath, { force: true });
    rmSync(this.folder.path, { recursive: true, force: true });
    this.spec = undefined;
    // Last: a machine that goes down before starts a worker again, which finds no pool and removes it.
    await removeUnit(this.folder.pool);
  }

  /** The clock, and whether anybody is here. */
  private async look(): Promise<void> {
    const { spec } = this;
    if (this.looking) return;
    if (!spec) {
      // Whoever started it was killed before the pool was told.
      const unused = !this.left && Date.now() - this.startedMs > UNUSED_MS && !hasLogin();
      if (unused) {
        await this.leave(false);
        this.end();
      }
      return;
    }
    this.looking = true;
    try {
      const now = Date.now();
      if (now - (this.sums?.lastMs ?? 0) >= USAGE_MS) await this.takeDownUsage();
      const notice = spec.notices ? await this.notices.look() : undefined;
      if (this.afterRestart) await this.takeUpAgain(this.afterRestart);
      const { expiresMs } = this.spec ?? spec;
      const isOver = expiresMs !== undefined && now >= expiresMs && this.afterRestart?.knowsEnd !== false;
      if (notice) await this.endByItself(notice.why, notice);
      else if (isOver) await this.endByItself(TIME_IS_OVER);
      else if (spec.idleMs !== undefined) {
        if (await this.isBusy()) this.busyMs = now;
        else if (now - this.busyMs >= spec.idleMs) await this.endByItself("nobody uses it");
      }
    } catch (error) {
      this.log.error({ err: error }, "looking after the pool failed");
    } finally {
      this.looking = false;
    }
  }

  /** What was moved while the machine was off, and what was not in the bucket when it went down. */
  private async takeUpAgain(restart: AfterRestart): Promise<void> {
    const spec = this.required();
    const end = await restart.movedEnd(spec, this.notices);
    if (end && this.afterRestart === restart) this.save({ ...this.required(), expiresMs: end.expiresMs });
    const kept = await restart.restore(this.mounts());
    if (kept && this.afterRestart === restart) this.kept = kept;
  }

  private async isBusy(): Promise<boolean> {
    if (["setup", "job"].some((name) => this.job(name).isRunning)) return true;
    if (hasLogin()) return true;
    const { gpus } = await this.usage.look();
    return gpus.some(({ percent }) => percent > 5);
  }

  /** @param options.taken the machine is ended from outside, in a moment: what is to be done is to save the data */
  private async endByItself(why: string, { taken = false, wantsMachine = false } = {}): Promise<void> {
    if (this.ending === why && this.kept.length === 0 && taken) return;
    if (this.kept.length > 0 && Date.now() - this.keptMs < AGAIN_MS) return;
    this.ending = why;
    this.losesMachine = wantsMachine;
    this.log.warn({ why }, "the pool ends by itself");
    const unflushed = await this.drain(() => {});
    if (unflushed.length > 0) {
      this.keptMs = Date.now();
      this.log.error({ unflushed }, "the node is kept: not everything is in the bucket");
      return;
    }
    // Whoever follows the job can still ask why it ended.
    if (taken) return;
    const { atEnd } = this.required();
    await this.leave(false);
    if (atEnd === "poweroff") await powerOff(this.log);
    this.end();
  }
}
