/**
 * DiskSpace: how much the cache may hold now.
 *
 * The configured size is one bound; leaving `keepFree` of the file system to others is another, which moves as others
 * write. The file system is asked again when a second has passed or a good part of the room was used up.
 */
import { statfs } from "node:fs/promises";
import type { Clock } from "../common/clock.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";

const ASK_AGAIN_MS: Milliseconds = 1000;
const ASK_AGAIN_BYTES: Bytes = 64 * MiB;

/** Bytes the cache may hold when it holds `used` and the file system has `available` bytes left. */
export function spaceLimit(cacheSize: Bytes, keepFree: Bytes, used: Bytes, available: Bytes): Bytes {
  return Math.max(0, Math.min(cacheSize, used + available - keepFree));
}

export interface DiskSpaceOptions {
  path: string;
  cacheSizeBytes: Bytes;
  keepFreeBytes: Bytes;
  clock: Clock;
  /** What the cache holds. */
  usedBytes: () => Bytes;
}

export class DiskSpace {
  readonly #options: DiskSpaceOptions;
  #limit: Bytes;
  #askedMs: Milliseconds = -Infinity;
  #usedThen: Bytes = 0;
  #asking = false;

  private constructor(options: DiskSpaceOptions) {
    this.#options = options;
    this.#limit = options.cacheSizeBytes;
  }

  static async open(options: DiskSpaceOptions): Promise<DiskSpace> {
    const space = new DiskSpace(options);
    await space.#ask();
    return space;
  }

  /** As known; asks again behind the caller's back when that is old. */
  get limitBytes(): Bytes {
    const { clock, usedBytes } = this.#options;
    const old = clock.monotonic() - this.#askedMs > ASK_AGAIN_MS;
    if (!this.#asking && (old || Math.abs(usedBytes() - this.#usedThen) > ASK_AGAIN_BYTES)) {
      // Not knowing is no reason to stop: a disk that is really full says so on write.
      this.#ask().catch(() => undefined);
    }
    return this.#limit;
  }

  /** Asks the file system now. */
  async refresh(): Promise<void> {
    await this.#ask();
  }

  /** The file system refused to take more. */
  full(): void {
    this.#limit = Math.min(this.#limit, this.#options.usedBytes());
    this.#askedMs = this.#options.clock.monotonic();
  }

  async #ask(): Promise<void> {
    const { path, cacheSizeBytes, keepFreeBytes, clock, usedBytes } = this.#options;
    this.#asking = true;
    try {
      this.#askedMs = clock.monotonic();
      const { bavail, bsize } = await statfs(path);
      this.#usedThen = usedBytes();
      this.#limit = spaceLimit(cacheSizeBytes, keepFreeBytes, this.#usedThen, bavail * bsize);
    } finally {
      this.#asking = false;
    }
  }
}
