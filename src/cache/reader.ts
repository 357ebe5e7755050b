/** VersionReader: one open of one version. A read that finds its bytes in memory is answered without a promise. */
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import { blockOf } from "./blocks.ts";
import type { BackingFile, ContentReader, ObjectVersion, Span } from "./content.ts";
import type { Demand } from "./demand.ts";
import type { Extent } from "./extent.ts";
import type { Memory } from "./memory.ts";
import { readError } from "./read-error.ts";
import { EMPTY_SPAN, ExtentSpan } from "./span.ts";
import type { VersionBlocks } from "./version-blocks.ts";

export interface ReaderParts {
  memory: Memory;
  demand: Demand;
}

/** A read may take this part of the memory, so that what it needs can always be brought together. */
const LARGEST_READ = 1 / 4;

export class VersionReader implements ContentReader {
  readonly version: ObjectVersion;
  readonly #owner: VersionBlocks;
  readonly #parts: ReaderParts;
  #closed = false;

  constructor(owner: VersionBlocks, parts: ReaderParts) {
    owner.hold();
    this.version = owner.version;
    this.#owner = owner;
    this.#parts = parts;
  }

  read(offset: Bytes, length: Bytes, signal?: AbortSignal): MaybePromise<Span> {
    const wanted = Math.min(length, this.version.sizeBytes - offset);
    if (this.#closed) throw new HawserError("closed", `The reader of ${this.version.key} is closed.`);
    if (wanted <= 0) return EMPTY_SPAN;
    const { memory } = this.#parts;
    const extent = this.#owner.extents.get(blockOf(offset));
    if (extent?.state === "ready" && blockOf(offset + wanted - 1) < extent.endBlock) {
      this.#used(extent);
      return new ExtentSpan(memory, extent, offset, wanted);
    }
    if (wanted > memory.capacityBytes * LARGEST_READ) {
      throw new HawserError(
        "invalid_argument",
        `A read of ${wanted} bytes is too long for the memory; read less at once.`,
      );
    }
    return this.#wait(offset, wanted, signal);
  }

  backing(): MaybePromise<BackingFile | undefined> {
    return undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#owner.letGo();
  }

  async #wait(offset: Bytes, length: Bytes, signal: AbortSignal | undefined): Promise<Span> {
    try {
      return await this.#parts.demand.read(this.#owner, offset, length, signal);
    } catch (error) {
      throw readError(error, this.version);
    }
  }

  #used(extent: Extent): void {
    extent.used = true;
    this.#parts.memory.touch(extent);
  }
}
