/**
 * Disk: the disk cache as a mount sees it, there or not.
 *
 * The mount never depends on it. When the folder becomes read-only, vanishes or its disk fails, one line is logged, the
 * store is let go, and it is opened anew every half minute. What belongs to the folder as a whole is kept up from here:
 * room for others, the log's length, and clean points (everything written so far has reached the disk).
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Backing, BackingKernel, ObjectVersion } from "./content.ts";
import type { DiskEntry } from "./disk-entry.ts";
import { DiskStore } from "./disk-store.ts";
import type { DiskOptions, DiskStoreStats } from "./disk-store.ts";
import { sweep } from "./disk-sweep.ts";

const RETRY_MS: Milliseconds = 30_000;
const UPKEEP_MS: Milliseconds = 5_000;
/** Long enough that most of what was written has reached the disk by itself. */
const CLEAN_POINT_MS: Milliseconds = 300_000;
/** Said at most this often: a folder that comes and goes must not fill the log. */
const SAY_AGAIN_MS: Milliseconds = 600_000;

export interface DiskParts extends DiskOptions {
  clock: Clock;
  /** One line for the log. */
  say: (message: string, error?: unknown) => void;
  /** Makes everything written below a folder reach the disk; `sync -f` when absent. */
  syncFolder?: ((path: string) => Promise<void>) | undefined;
}

export class Disk {
  readonly #parts: DiskParts & { bootId: string };
  #store: DiskStore | undefined;
  #cancelUpkeep = (): void => {};
  #sweeping = new AbortController();
  #work: Promise<void> = Promise.resolve();
  #cleanMs: Milliseconds;
  #saidMs: Milliseconds = -Infinity;
  #closed = false;
  #kernelReads = false;

  private constructor(parts: DiskParts & { bootId: string }) {
    this.#parts = parts;
    this.#cleanMs = parts.clock.monotonic();
  }

  /**
   * @throws HawserError `invalid_argument` when the folder is somebody else's; a folder that cannot be used for another
   *   reason is tried again later
   */
  static async open(parts: DiskParts): Promise<Disk> {
    const disk = new Disk({ ...parts, bootId: parts.bootId ?? (await readBootId()) });
    await disk.#open(true);
    return disk;
  }

  /** The store, while there is one. */
  get store(): DiskStore | undefined {
    return this.#store;
  }

  find(fingerprint: string): DiskEntry | undefined {
    return this.#store?.find(fingerprint);
  }

  /** The entry must have been found since the last await. */
  read(entry: DiskEntry, firstBlock: number, count: number, target: Uint8Array): Promise<void> {
    if (this.#store === undefined) throw new HawserError("internal", "There is no disk cache.");
    return this.#store.read(entry, firstBlock, count, target);
  }

  /** @returns whether it is stored */
  async write(
    version: ObjectVersion,
    fingerprint: string,
    firstBlock: number,
    source: Uint8Array,
    direct: boolean,
  ): Promise<boolean> {
    return (await this.#store?.write(version, fingerprint, firstBlock, source, direct)) ?? false;
  }

  backing(fingerprint: string, kernel: BackingKernel): MaybePromise<Backing | undefined> {
    this.#kernelReads = true;
    const entry = this.#store?.find(fingerprint);
    return entry && this.#store?.backing(entry, kernel);
  }

  /** Complete files are handed to the kernel: who opens one of them asks us for no bytes. */
  get kernelReads(): boolean {
    return this.#kernelReads;
  }

  stats(): DiskStoreStats | undefined {
    return this.#store?.stats();
  }

  /** Resolves when background work that is under way now is done. */
  async idle(): Promise<void> {
    await this.#work;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelUpkeep();
    this.#sweeping.abort();
    await this.#work;
    const store = this.#store;
    this.#store = undefined;
    try {
      await store?.close();
    } catch (error) {
      this.#say("The disk cache could not be closed in order; its last entries may be fetched again.", error);
    }
  }

  async #open(first: boolean): Promise<void> {
    try {
      const store: DiskStore = await DiskStore.open({
        ...this.#parts,
        onTrouble: (error) => this.#trouble(store, error),
      });
      this.#store = store;
      this.#schedule(UPKEEP_MS);
      this.#sweeping = new AbortController();
      const { signal } = this.#sweeping;
      const newIds = store.index.nextFileId;
      this.#enqueue(async () => {
        await sweep(store, newIds, signal);
      });
    } catch (error) {
      if (first && HawserError.is(error, "invalid_argument", "addon_missing")) throw error;
      this.#unusable(error);
    }
  }

  #trouble(store: DiskStore, error: unknown): void {
    if (this.#store !== store) return;
    this.#store = undefined;
    this.#sweeping.abort();
    this.#enqueue(() => store.abandon());
    this.#unusable(error);
  }

  #unusable(error: unknown): void {
    const retry = `It is tried again every ${RETRY_MS / 1000} s; until then reads come from memory and S3.`;
    this.#say(`The disk cache in ${this.#parts.folder} cannot be used. ${retry}`, error);
    this.#schedule(RETRY_MS);
  }

  #say(message: string, error: unknown): void {
    const now = this.#parts.clock.monotonic();
    if (now - this.#saidMs < SAY_AGAIN_MS) return;
    this.#saidMs = now;
    this.#parts.say(message, error);
  }

  #schedule(ms: Milliseconds): void {
    this.#cancelUpkeep();
    if (this.#closed) return;
    this.#cancelUpkeep = this.#parts.clock.after(ms, () => {
      this.#enqueue(() => (this.#store ? this.#upkeep(this.#store) : this.#open(false)));
    });
  }

  /** One piece of work after the other, none of which fails. */
  #enqueue(work: () => Promise<void>): void {
    const run = async (): Promise<void> => {
      if (this.#closed) return;
      try {
        await work();
      } catch (error) {
        if (this.#store) this.#trouble(this.#store, error);
      }
    };
    this.#work = this.#work.then(run);
  }

  async #upkeep(store: DiskStore): Promise<void> {
    await store.trim();
    await this.#tolerateFull(store, async () => {
      await store.index.flush();
      if (await store.index.compactIfWorth()) store.dirty = true;
    });
    if (store.dirty && this.#parts.clock.monotonic() - this.#cleanMs >= CLEAN_POINT_MS)
      await this.#cleanPoint(store);
    if (this.#store === store) this.#schedule(UPKEEP_MS);
  }

  async #cleanPoint(store: DiskStore): Promise<void> {
    this.#cleanMs = this.#parts.clock.monotonic();
    store.dirty = false;
    const mark = store.index.mark();
    await store.index.flush();
    try {
      await (this.#parts.syncFolder ?? syncFolder)(store.place.path);
    } catch {
      // Without it, more has to be verified after a power loss.
      return;
    }
    store.index.clean(mark);
    await store.index.sync();
  }

  /** A log that cannot grow for lack of space keeps its records in memory and is tried again. */
  async #tolerateFull(store: DiskStore, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      if (errno !== "ENOSPC" && errno !== "EDQUOT") throw error;
      store.space.full();
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  await promisify(execFile)("sync", ["-f", path]);
}

async function readBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}
