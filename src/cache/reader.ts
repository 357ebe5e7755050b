/** VersionReader: one open of one version. A read that finds its bytes in memory is answered without a promise. */
import type { Waiter } from "../common/cancellation.ts";
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import { blockOf } from "./blocks.ts";
import type { Backing, BackingKernel, ContentReader, ObjectVersion, Span } from "./content.ts";
import type { ContentCounters } from "./content-stats.ts";
import type { Demand } from "./demand.ts";
import type { Disk } from "./disk.ts";
import type { Extent } from "./extent.ts";
import type { Memory } from "./memory.ts";
import { newPattern, observeRead } from "./prefetch-window.ts";
import type { Prefetcher } from "./prefetcher.ts";
import { readError } from "./read-error.ts";
import { EMPTY_SPAN, ExtentSpan } from "./span.ts";
import type { VersionBlocks } from "./version-blocks.ts";

export interface ReaderParts {
  memory: Memory;
  demand: Demand;
  disk?: Disk | undefined;
  /** Absent when nothing is to be fetched ahead. */
  prefetcher?: Prefetcher | undefined;
  stats: ContentCounters;
  onUsed: (extent: Extent) => void;
}

/** A read may take this part of the memory, so that what it needs can always be brought together. */
const LARGEST_READ = 1 / 4;

export class VersionReader implements ContentReader {
  readonly version: ObjectVersion;
  readonly #owner: VersionBlocks;
  readonly #parts: ReaderParts;
  readonly #pattern = newPattern();
  #closed = false;

  constructor(owner: VersionBlocks, parts: ReaderParts) {
    owner.hold();
    this.version = owner.version;
    this.#owner = owner;
    this.#parts = parts;
  }

  read(offset: Bytes, length: Bytes, waiter?: Waiter): MaybePromise<Span> {
    const wanted = Math.min(length, this.version.sizeBytes - offset);
    if (this.#closed) throw new HawserError("closed", `The reader of ${this.version.key} is closed.`);
    if (wanted <= 0) return EMPTY_SPAN;
    const { memory, onUsed, stats } = this.#parts;
    const extent = this.#owner.extents.get(blockOf(offset));
    if (extent?.state === "ready" && blockOf(offset + wanted - 1) < extent.endBlock) {
      onUsed(extent);
      stats.hits++;
      stats.hitBytes += wanted;
      const span = new ExtentSpan(memory, extent, offset, wanted);
      this.#readAhead(offset, wanted);
      return span;
    }
    if (wanted > memory.capacityBytes * LARGEST_READ) {
      throw new HawserError(
        "invalid_argument",
        `A read of ${wanted} bytes is too long for the memory; read less at once.`,
      );
    }
    stats.misses++;
    stats.missBytes += wanted;
    const span = this.#wait(offset, wanted, waiter);
    // What is wanted now is on its way; what comes next goes behind it.
    this.#readAhead(offset, wanted);
    return span;
  }

  backing(kernel: BackingKernel, isOpen = true): MaybePromise<Backing | undefined> {
    const file = this.#closed ? undefined : this.#parts.disk?.backing(this.#owner.fingerprint, kernel);
    if (!isOpen) return file;
    return file instanceof Promise ? file.then((opened) => this.#count(opened)) : this.#count(file);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#owner.letGo();
  }

  #count(file: Backing | undefined): Backing | undefined {
    if (file === undefined) return undefined;
    this.#parts.stats.backingOpens++;
    // The kernel reads the file itself and tells nobody: what was fetched ahead of this open counts as read.
    for (const extent of this.#owner.extents.values()) if (!extent.used) this.#parts.onUsed(extent);
    return file;
  }

  #readAhead(offset: Bytes, length: Bytes): void {
    const { prefetcher } = this.#parts;
    if (prefetcher === undefined) return;
    const plan = observeRead(
      this.#pattern,
      offset,
      length,
      this.version.sizeBytes,
      prefetcher.mostAheadBytes,
    );
    if (plan) prefetcher.follow(this.#owner, plan);
  }

  async #wait(offset: Bytes, length: Bytes, waiter: Waiter | undefined): Promise<Span> {
    try {
      return await this.#parts.demand.read(this.#owner, offset, length, waiter);
    } catch (error) {
      throw readError(error, this.version);
    }
  }
}
