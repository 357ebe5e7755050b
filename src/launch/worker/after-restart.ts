/**
 * After a restart of the machine, when systemd has started the worker and no launcher is there.
 *
 * The worker ends the pool in time as ever, and brings home what it can: volumes that may hold data and whose credentials
 * the machine has by itself. Credentials that a launcher had handed over went with the memory; such a volume waits for a
 * launcher, and its node is kept.
 *
 * The pool's folder in memory says which worker is the first: it is gone after a restart.
 */
import { existsSync } from "node:fs";
import type { EpochMs, Milliseconds } from "../../common/units.ts";
import type { Logger } from "../../observe/logger.ts";
import type { InstanceNotices } from "./instance-notices.ts";
import type { WorkerMounts } from "./mounts.ts";
import type { Unflushed } from "./protocol.ts";
import type { WorkerFolder, WorkerSpec } from "./spec.ts";

/** The network, and the role's credentials, may come a while after the worker. */
const AGAIN_MS: Milliseconds = 10_000;
/** How long the metadata service may be silent before what the worker knew of the pool's end is believed. */
const UNANSWERED_MS: Milliseconds = 60_000;

export class AfterRestart {
  private readonly log: Logger;
  private readonly beganMs: Milliseconds = performance.now();
  private endKnown = false;
  private restored = false;
  private triedMs: Milliseconds = Number.NEGATIVE_INFINITY;

  constructor(log: Logger) {
    this.log = log;
  }

  static isDue(folder: WorkerFolder, spec: WorkerSpec): boolean {
    return spec.systemd && !existsSync(folder.memoryPath(spec));
  }

  /** The worker was told it since. */
  endIsKnown(): void {
    this.endKnown = true;
  }

  /** Whether the worker's own word for the pool's end may be acted upon. */
  get knowsEnd(): boolean {
    return this.endKnown || performance.now() - this.beganMs > UNANSWERED_MS;
  }

  /** @returns another end than the worker knows, which the pool was given while the machine was off */
  async movedEnd(
    spec: Pick<WorkerSpec, "notices" | "expiresMs">,
    notices: Pick<InstanceNotices, "expiry">,
  ): Promise<{ expiresMs: EpochMs | undefined } | undefined> {
    if (this.endKnown) return undefined;
    const said = spec.notices ? await notices.expiry() : null;
    if (this.endKnown || said === undefined) return undefined;
    this.endKnown = true;
    const expiresMs = said === "never" ? undefined : Date.parse(said ?? "");
    return Number.isNaN(expiresMs) || expiresMs === spec.expiresMs ? undefined : { expiresMs };
  }

  /** @returns what could not be mounted again; nothing when it is not the time to try */
  async restore(mounts: Pick<WorkerMounts, "restore">): Promise<Unflushed[] | undefined> {
    const now = performance.now();
    if (this.restored || now - this.triedMs < AGAIN_MS) return undefined;
    this.triedMs = now;
    const kept = await mounts.restore();
    this.restored = kept.length === 0;
    if (!this.restored)
      this.log.error({ kept }, "what the machine had before its restart is not in the bucket");
    return kept;
  }
}
