/**
 * WriteBehind: what came from S3 goes to disk behind the readers, straight from the slab.
 *
 * An extent that waits to be written is pinned. A disk slower than the network must not slow down readers, nor take the
 * memory from them: at most five eighths of it may wait so. What comes beyond that is put off without a pin and written when
 * the disk has caught up, if it is still in memory then. While the disk keeps up, large extents go around the page cache:
 * that saves the copy, and the reader has the bytes in the page cache of the mount already.
 */
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { Disk } from "./disk.ts";
import type { Extent } from "./extent.ts";
import type { Memory } from "./memory.ts";
import { SMALL_FILE } from "./small-files.ts";

/** From here on writing around the page cache is cheaper than a copy into it. */
const DIRECT_FROM: Bytes = MiB;
/** Enough to keep a disk busy, few enough that reads find a free thread. */
const WRITES_AT_ONCE = 3;
/** Smaller ones share a thread: so many count as one. */
const SMALL_AS_ONE = 32;

export class WriteBehind {
  readonly #memory: Memory;
  readonly #disk: Disk;
  readonly #directBytes: Bytes;
  readonly #throttleBytes: Bytes;
  readonly #mostBytes: Bytes;
  readonly #queue: Extent[] = [];
  #head = 0;
  #pumping = false;
  /** Writes under way, in shares of a thread. */
  #active = 0;
  #waitingBytes: Bytes = 0;
  /** Put off; the first ones that are not handled yet begin at #laterHead. */
  #later: Extent[] = [];
  #laterHead = 0;
  #skippedBytes: Bytes = 0;
  #drained: (() => void)[] = [];

  constructor(memory: Memory, disk: Disk) {
    this.#memory = memory;
    this.#disk = disk;
    this.#directBytes = memory.capacityBytes / 8;
    this.#throttleBytes = memory.capacityBytes / 4;
    this.#mostBytes = (memory.capacityBytes * 5) / 8;
  }

  /** The disk falls behind: do not fetch for its sake. */
  get behind(): boolean {
    return this.#waitingBytes > this.#throttleBytes;
  }

  get waitingBytes(): Bytes {
    return this.#waitingBytes;
  }

  get skippedBytes(): Bytes {
    return this.#skippedBytes;
  }

  /** The extent is ready and not on disk. */
  add(extent: Extent): void {
    if (this.#disk.store === undefined) return;
    if (this.#waitingBytes + extent.bodyBytes > this.#mostBytes) {
      this.#later.push(extent);
      return;
    }
    this.#enqueue(extent);
    this.#pumpSoon();
  }

  /** Resolves when nothing waits to be written. */
  async drain(): Promise<void> {
    if (this.#waitingBytes === 0) return;
    await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  #enqueue(extent: Extent): void {
    this.#memory.pin(extent);
    this.#waitingBytes += extent.bodyBytes;
    this.#queue.push(extent);
  }

  /** Takes up what was put off, as far as it is still there. */
  #catchUp(): void {
    while (this.#laterHead < this.#later.length && this.#waitingBytes < this.#throttleBytes) {
      const extent = this.#later[this.#laterHead++]!;
      if (extent.state === "ready" && !extent.stored) this.#enqueue(extent);
      else if (!extent.stored) this.#skippedBytes += extent.bodyBytes;
    }
    if (this.#laterHead < this.#later.length) return;
    this.#later = [];
    this.#laterHead = 0;
  }

  /** Whoever waits for what has just arrived is answered first. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    this.#catchUp();
    while (this.#active < WRITES_AT_ONCE && this.#head < this.#queue.length) {
      const extent = this.#queue[this.#head++]!;
      this.#shorten();
      this.#active += threadShare(extent);
      void this.#write(extent);
    }
  }

  /** Takes what was handled off the front, many at a time. */
  #shorten(): void {
    if (this.#head < 1024 && this.#head < this.#queue.length) return;
    this.#queue.splice(0, this.#head);
    this.#head = 0;
  }

  async #write(extent: Extent): Promise<void> {
    const { owner, firstBlock, bodyOffset, bodyBytes } = extent;
    try {
      const source = this.#memory.view(bodyOffset, bodyBytes);
      // A disk that does not keep up gets what the page cache can take off our hands.
      const direct = bodyBytes >= DIRECT_FROM && this.#waitingBytes <= this.#directBytes;
      extent.stored = await this.#disk.write(owner.version, owner.fingerprint, firstBlock, source, direct);
      extent.handedOver = extent.stored && !extent.used && isWhole(extent) && this.#disk.kernelReads;
    } finally {
      this.#active -= threadShare(extent);
      this.#waitingBytes -= bodyBytes;
      this.#memory.unpin(extent);
      this.#pump();
      if (this.#waitingBytes === 0) for (const resolve of this.#drained.splice(0)) resolve();
    }
  }
}

function threadShare({ bodyBytes }: Extent): number {
  return bodyBytes > SMALL_FILE ? 1 : 1 / SMALL_AS_ONE;
}

function isWhole({ bodyBytes, owner }: Extent): boolean {
  return bodyBytes === owner.version.sizeBytes;
}
