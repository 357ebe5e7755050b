/**
 * A fetch: one range on its way, from the queue through as many attempts as it takes to its end.
 *
 * `received` counts the contiguous bytes that are in the window for good; a next attempt asks from there on. The engine
 * alone changes a fetch; at most two lanes carry one at a time, and only one of them writes the window.
 */
import type { Bytes, Milliseconds } from "../../common/units.ts";
import { HEAD_ROOM } from "../range-reader.ts";
import type { ChecksumPlan } from "./checksum-plan.ts";
import type { Expected } from "./expect.ts";
import type { RunningChecksum } from "../running-checksum.ts";
import type { Lane } from "./lane.ts";
import type { Rank } from "../lean/rank.ts";
import type { FetchSpec } from "./protocol.ts";
import type { Queued } from "../lean/ranked-queue.ts";

export class Fetch implements Queued {
  readonly spec: FetchSpec;
  rank: Rank;
  // The queue's.
  queued = false;
  previous: Queued | undefined;
  next: Queued | undefined;

  /** What carries it now. */
  primary: Lane | undefined;
  /** A second request that races for the first byte. */
  hedge: Lane | undefined;
  /** True while it waits for a connection to hedge on. */
  wantsHedge = false;
  /** Ends a wait between attempts. */
  stopWaiting: (() => void) | undefined;

  /** Where the body begins in the slab; -1 until the first good head, and for a file. */
  bodyOffset = -1;
  received: Bytes = 0;
  /** What `received` was when the present attempt was sent. */
  receivedBefore: Bytes = 0;
  receivedAtFailure: Bytes = 0;
  checksum: ChecksumPlan | undefined;
  /** Of what went to a file so far: it is not in the window any more. */
  written: RunningChecksum | undefined;
  /** The object's `mtime` metadata. */
  mtime: string | undefined;

  readonly enqueuedAt: Milliseconds;
  /** When it was first sent; -1 before. */
  startedAt: Milliseconds = -1;
  /** When it was sent or last received enough to count as alive: what the deadline counts from. */
  aliveAt: Milliseconds = -1;
  /** Set when it was cancelled but is nearly done. */
  cancelledAt: Milliseconds = -1;

  /** Failures since the last progress. */
  failures = 0;
  /** All of them, for messages. */
  tries = 0;
  garbled = 0;
  checksumFailures = 0;
  readonly cures = { refresh_credentials: 0, correct_clock: 0, follow_region: 0 };

  constructor(spec: FetchSpec, now: Milliseconds) {
    this.spec = spec;
    this.rank = spec.rank;
    this.enqueuedAt = now;
  }

  get running(): boolean {
    return this.primary !== undefined;
  }

  get windowEnd(): number {
    return this.spec.windowOffset + HEAD_ROOM + this.spec.length;
  }

  get remaining(): Bytes {
    return this.spec.length - this.received;
  }

  /** Asked for without Range: the whole object, from its first byte. */
  get whole(): boolean {
    return this.received === 0 && this.spec.offset === 0 && this.spec.length === this.spec.objectBytes;
  }

  /** What the next answer has to be. */
  expected(): Expected {
    return {
      offset: this.spec.offset + this.received,
      length: this.remaining,
      objectBytes: this.spec.objectBytes,
      etag: this.spec.etag,
      ranged: !this.whole,
    };
  }

  /** Throws away what was received. */
  restart(): void {
    this.received = this.receivedAtFailure = 0;
    this.bodyOffset = -1;
    this.checksum = this.written = undefined;
  }
}
