/**
 * Extent: a run of one version's consecutive blocks that lie together in the slab.
 *
 * It is born `loading` (its window belongs to whoever fills it), becomes `ready`, and ends `gone`. It can be evicted
 * when it is ready and nobody pins it: loading counts as a pin, so do spans that were handed out and writes to disk.
 */
import type { Reason } from "../store/object-store.ts";
import type { VersionBlocks } from "./version-blocks.ts";
import type { Bytes } from "../common/units.ts";

export type ExtentState = "loading" | "ready" | "gone";

export class Extent {
  readonly owner: VersionBlocks;
  readonly firstBlock: number;
  readonly blockCount: number;
  /** The bytes the blocks hold. */
  readonly bodyBytes: Bytes;
  /** First unit and number of units in the slab. */
  unit: number;
  units: number;
  /** Where the first block begins in the slab; known once ready. */
  bodyOffset = 0;
  pins = 0;
  state: ExtentState = "loading";
  /** Why it was first asked for. */
  readonly reason: Reason;
  /** Read from the disk cache, not from S3. */
  fromDisk = false;
  /** Its bytes came, whether or not they are still here. */
  filled = false;
  /** Its bytes are on disk as well. */
  stored = false;
  /** The whole of a version that nobody has read: who opens it now reads the disk's file without us. */
  handedOver = false;
  /** Some reader has had bytes of it. */
  used = false;
  /** Was the coldest once, unread, and stayed for what readers have had. */
  spared = false;
  /** How many bytes readers have had, the same ones counted as often as they were read. */
  servedBytes: Bytes = 0;
  /** In the line of those that leave memory next. */
  leaving = false;
  /** Settles when the extent is ready, or rejects with why it is not. */
  loaded: Promise<void> | undefined;

  constructor(
    owner: VersionBlocks,
    firstBlock: number,
    blockCount: number,
    bodyBytes: Bytes,
    unit: number,
    units: number,
    reason: Reason,
  ) {
    this.owner = owner;
    this.firstBlock = firstBlock;
    this.blockCount = blockCount;
    this.bodyBytes = bodyBytes;
    this.unit = unit;
    this.units = units;
    this.reason = reason;
  }

  /** The block after the last one. */
  get endBlock(): number {
    return this.firstBlock + this.blockCount;
  }
}
