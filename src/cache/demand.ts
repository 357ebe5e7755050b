/**
 * Demand: reads that must wait.
 *
 * A read gathers its extents: it pins those that are there or on their way and starts loads for the rest. Reads that
 * find no room stand in one line (FIFO), and **a read in line holds no pin**, except the first: it keeps what it has and
 * takes whatever becomes free. Spans out with the filesystem come back by themselves and loads end by themselves, so
 * the first in line always gets through, however small the slab: slow, never stuck, never over.
 */
import { cancellable, isCancelled } from "../common/cancellation.ts";
import type { Waiter } from "../common/cancellation.ts";
import { HawserError } from "../common/errors.ts";
import type { Clock } from "../common/clock.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { blockCount, blockOf } from "./blocks.ts";
import type { WaitReason } from "./content-stats.ts";
import type { Span } from "./content.ts";
import type { Extent } from "./extent.ts";
import { LoadAgain } from "./load-again.ts";
import type { Loader } from "./loader.ts";
import type { Memory } from "./memory.ts";
import { GatheredSpan } from "./span.ts";
import type { VersionBlocks } from "./version-blocks.ts";

/** How often a read starts over when what it shared with a prefetch failed, before it gives up. */
const SHARED_FAILURES = 3;

/** Objects up to this size are fetched whole, whatever part of them is asked for: one request, which can be checked. */
const SMALL_OBJECT: Bytes = MiB;

export interface DemandParts {
  memory: Memory;
  loader: Loader;
  clock: Clock;
  /** A reader gets bytes of this extent. */
  onUsed: (extent: Extent) => void;
  /** A reader has waited. */
  onWaited: (reason: WaitReason, ms: Milliseconds) => void;
}

export class Demand {
  readonly #parts: DemandParts;
  readonly #memory: Memory;
  readonly #loader: Loader;
  /** Resolves when the last read in line has left. */
  #lineEnd: Promise<void> | undefined;

  constructor(parts: DemandParts) {
    this.#parts = parts;
    this.#memory = parts.memory;
    this.#loader = parts.loader;
  }

  /** True while some read waits for room: speculation must not take any. */
  get starved(): boolean {
    return this.#lineEnd !== undefined;
  }

  async read(owner: VersionBlocks, offset: Bytes, length: Bytes, waiter?: Waiter): Promise<Span> {
    const first = blockOf(offset);
    const end = blockOf(offset + length - 1) + 1;
    const { clock, onUsed, onWaited } = this.#parts;
    const started = clock.monotonic();
    let reason: WaitReason = "disk";
    owner.hold();
    try {
      for (let failures = 0; ; failures++) {
        const extents: Extent[] = [];
        if (this.starved || !this.#gather(owner, first, end, extents)) {
          this.#letGo(extents);
          await this.#inLine(owner, first, end, extents, waiter);
        }
        if (extents.some((extent) => extent.state === "loading" && !extent.fromDisk)) reason = "store";
        const failed = await this.#settle(extents, waiter);
        if (failed === undefined) {
          for (const extent of extents) onUsed(extent);
          onWaited(reason, clock.monotonic() - started);
          return new GatheredSpan(this.#memory, extents, offset, length);
        }
        this.#letGo(extents);
        const again = failed.extent.reason !== "demand" || failed.error instanceof LoadAgain;
        if (!again || failures >= SHARED_FAILURES) throw failed.error;
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
      const extent = present ?? this.#start(owner, block, end);
      if (extent === undefined) return false;
      this.#memory.pin(extent);
      extents.push(extent);
      block = extent.endBlock;
    }
    return true;
  }

  #start(owner: VersionBlocks, block: number, end: number): Extent | undefined {
    const { sizeBytes } = owner.version;
    if (sizeBytes > SMALL_OBJECT || owner.extents.size > 0)
      return this.#loader.start(owner, block, end - block, "demand");
    const whole = this.#loader.start(owner, 0, blockCount(sizeBytes), "demand");
    // Where only a part of it found room, that need not be the part that is wanted.
    return owner.extents.get(block) ?? (whole && this.#loader.start(owner, block, end - block, "demand"));
  }

  /** Waits in line and gathers as the first in it. On rejection nothing is pinned. */
  async #inLine(
    owner: VersionBlocks,
    first: number,
    end: number,
    extents: Extent[],
    waiter: Waiter | undefined,
  ): Promise<void> {
    const ahead = this.#lineEnd;
    let leave = (): void => {};
    const mine = new Promise<void>((resolve) => (leave = resolve));
    // Whoever gives up early leaves the line without letting the next one pass those ahead of both.
    const lineEnd = ahead === undefined ? mine : ahead.then(() => mine);
    this.#lineEnd = lineEnd;
    try {
      if (ahead) await cancellable(ahead, waiter, interrupted);
      for (;;) {
        if (isCancelled(waiter)) throw interrupted();
        if (this.#gather(owner, first, end, extents)) return;
        await cancellable(new Promise<void>((resolve) => this.#memory.onRoom(resolve)), waiter, interrupted);
        this.#dropFailed(extents);
      }
    } catch (error) {
      this.#letGo(extents);
      throw error;
    } finally {
      leave();
      void lineEnd.then(() => {
        if (this.#lineEnd !== lineEnd) return;
        this.#lineEnd = undefined;
        this.#memory.nudge();
      });
    }
  }

  /** Waits for all to be loaded. @returns the first that failed */
  async #settle(
    extents: Extent[],
    waiter: Waiter | undefined,
  ): Promise<{ extent: Extent; error: unknown } | undefined> {
    for (const extent of extents) {
      if (extent.state === "ready" || extent.loaded === undefined) continue;
      try {
        await cancellable(extent.loaded, waiter, interrupted);
      } catch (error) {
        if (isCancelled(waiter)) {
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

function interrupted(): HawserError {
  return new HawserError("interrupted", "The read was interrupted.");
}
