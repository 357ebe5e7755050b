/**
 * Upkeep: what is done once a second. Bytes of files that were closed are brought to the disk, with the journal after
 * them, so that a power loss takes a second at most; large files that are open are sent in parts.
 */
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";
import type { Context } from "./context.ts";
import { EarlyUpload } from "./early-upload.ts";
import type { LocalStaged } from "./staged-file.ts";

/** Files closed since the last tick are synced at the next. */
const TICK_MS: Milliseconds = 1_000;

export class Upkeep {
  readonly #context: Context;
  readonly #files: () => Iterable<LocalStaged>;
  #cancelTick = (): void => undefined;
  #ticking: Promise<void> | undefined;
  #syncedAtMs: EpochMs;

  constructor(context: Context, files: () => Iterable<LocalStaged>) {
    this.#context = context;
    this.#files = files;
    this.#syncedAtMs = context.clock.now();
  }

  /** What was closed until then is on the disk. */
  get syncedAtMs(): EpochMs {
    return this.#syncedAtMs;
  }

  /** No more ticks begin. */
  stop(): void {
    this.#cancelTick();
  }

  /** Resolves when none is under way. */
  async idle(): Promise<void> {
    await this.#ticking;
  }

  /** Begins, and goes on until write-back is closed. */
  tickLater(): void {
    if (this.#context.closing.aborted) return;
    this.#cancelTick = this.#context.clock.after(TICK_MS, () => {
      this.#ticking = this.#tick().finally(() => this.tickLater());
    });
  }

  /** Parts of a file that is open; an overlay or what an fsync has brought there is better copied from. */
  #sendEarly(file: LocalStaged, sizeBytes: Bytes): void {
    const { entry } = file;
    if (sizeBytes < this.#context.options.earlyUpload || entry.overlay || entry.uploaded || file.live) return;
    file.early ??= new EarlyUpload(this.#context, file);
    file.early.kick();
  }

  async #tick(): Promise<void> {
    const { journal, slots, area, clock, logger } = this.#context;
    slots.reconsider();
    area.reconsider();
    const before = clock.now();
    try {
      for (const file of this.#files()) {
        if (file.writers > 0) this.#sendEarly(file, file.measure());
        // What is published within a second costs no sync.
        const isOld = before - file.pendingSinceMs >= TICK_MS;
        if (isOld && isPending(file) && !file.entry.synced) await file.syncBytes(false);
      }
      await journal.sync();
      this.#syncedAtMs = before - TICK_MS;
      await journal.upkeep();
    } catch (error) {
      if (!this.#context.closing.aborted)
        logger.warn({ err: error }, "staged files could not be synced to disk");
    }
  }
}

/** Closed, and on its way to the bucket. */
function isPending({ state, inPlace }: LocalStaged): boolean {
  return inPlace || state === "sealed" || state === "uploading" || state === "failed";
}
