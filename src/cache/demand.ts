/**
 * Demand: reads that must wait.
 *
 * A read gathers its extents: it pins those that are there or on their way and starts loads for the rest. Reads that
 * find no room stand in one line (FIFO), and **a read in line holds no pin**, except the first: it keeps what it has and
 * takes whatever becomes free. Spans out with the filesystem come back by themselves and loads end by themselves, so
 * the first in line always gets through, however small the slab: slow, never stuck, never over.
 */
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import { blockOf } from "./blocks.ts";
import type { Span } from "./content.ts";
import type { Extent } from "./extent.ts";
import type { Loader } from "./loader.ts";
import type { Memory } from "./memory.ts";
import { GatheredSpan } from "./span.ts";
import type { VersionBlocks } from "./version-blocks.ts";

/** How often a read starts over when what it shared with a prefetch failed, before it gives up. */
const SHARED_FAILURES = 3;

export class Demand {
  readonly #memory: Memory;
  readonly #loader: Loader;
  /** Resolves when the last read in line has left. */
  #lineEnd: Promise<void> | undefined;

  constructor(memory: Memory, loader: Loader) {
    this.#memory = memory;
    this.#loader = loader;
  }

  /** True while some read waits for room: speculation must not take any. */
  get starved(): boolean {
    return this.#lineEnd !== undefined;
  }

  async read(owner: VersionBlocks, offset: Bytes, length: Bytes, signal?: AbortSignal): Promise<Span> {
    const first = blockOf(offset);
    const end = blockOf(offset + length - 1) + 1;
    owner.hold();
    try {
      for (let failures = 0; ; failures++) {
        const extents: Extent[] = [];
        if (this.starved || !this.#gather(owner, first, end, extents)) {
          this.#letGo(extents);
          await this.#inLine(owner, first, end, extents, signal);
        }
        const failed = await this.#settle(extents, signal);
        if (failed === undefined) return new GatheredSpan(this.#memory, extents, offset, length);
        this.#letGo(extents);
        const shared = failed.extent.reason !== "demand";
        if (!shared || failures >= SHARED_FAILURES) throw failed.error;
      }
    } finally {
      owner.letGo();
    }
  }

  /**
   * Pins every extent of the blocks from `first` to `end`, starting loads for what is missing.
   *
   * @param extents what is pinned already, from `first` on; extended
   * @returns false when room ran out: `extents` then holds what comes before the gap
   */
  #gather(owner: VersionBlocks, first: number, end: number, extents: Extent[]): boolean {
    let block = extents.at(-1)?.endBlock ?? first;
    while (block < end) {
      const present = owner.extents.get(block);
      if (present?.state === "loading" && present.reason !== "demand")
        this.#loader.promote(present, "demand");
      const extent = present ?? this.#loader.start(owner, block, end - block, "demand");
      if (extent === undefined) return false;
      this.#memory.pin(extent);
      extents.push(extent);
      block = extent.endBlock;
    }
    return true;
  }

  /** Waits in line and gathers as the first in it. On rejection nothing is pinned. */
  async #inLine(
    owner: VersionBlocks,
    first: number,
    end: number,
    extents: Extent[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const ahead = this.#lineEnd;
    let leave = (): void => {};
    const mine = new Promise<void>((resolve) => (leave = resolve));
    // Whoever gives up early leaves the line without letting the next one pass those ahead of both.
    const lineEnd = ahead === undefined ? mine : ahead.then(() => mine);
    this.#lineEnd = lineEnd;
    try {
      if (ahead) await abortable(ahead, signal);
      for (;;) {
        throwIfAborted(signal);
        if (this.#gather(owner, first, end, extents)) return;
        await abortable(new Promise<void>((resolve) => this.#memory.onRoom(resolve)), signal);
        this.#dropFailed(extents);
      }
    } catch (error) {
      this.#letGo(extents);
      throw error;
    } finally {
      leave();
      void lineEnd.then(() => {
        if (this.#lineEnd === lineEnd) this.#lineEnd = undefined;
      });
    }
  }

  /** Waits for all to be loaded. @returns the first that failed */
  async #settle(
    extents: Extent[],
    signal: AbortSignal | undefined,
  ): Promise<{ extent: Extent; error: unknown } | undefined> {
    for (const extent of extents) {
      if (extent.state === "ready" || extent.loaded === undefined) continue;
      try {
        await abortable(extent.loaded, signal);
      } catch (error) {
        if (signal?.aborted) {
          this.#letGo(extents);
          throw interrupted();
        }
        return { extent, error };
      }
    }
    return undefined;
  }

  /** Cuts the list at the first extent whose load failed meanwhile: from there on it has to be gathered again. */
  #dropFailed(extents: Extent[]): void {
    const failed = extents.findIndex((extent) => extent.state === "gone");
    if (failed >= 0) this.#letGo(extents.splice(failed));
  }

  #letGo(extents: Extent[]): void {
    for (const extent of extents.splice(0)) this.#memory.unpin(extent);
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interrupted();
}

function interrupted(): HawserError {
  return new HawserError("interrupted", "The read was interrupted.");
}

/** The promise, or a rejection when `signal` fires first. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  throwIfAborted(signal);
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = (): void => reject(interrupted());
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
