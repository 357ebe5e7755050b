/**
 * A lane: one connection, and the fetch that it carries at the moment.
 *
 * It decides where an answer's bytes go and whether they are what was asked for; what becomes of the fetch after that is
 * the owner's decision. A lane lives as long as its connection and is reused for fetch after fetch.
 */
import { writeSync } from "node:fs";
import { localError } from "../../common/local-error.ts";
import type { HawserError } from "../../common/errors.ts";
import type { Endpoint } from "../endpoint.ts";
import { AttemptFailure, answerFailure, describeFailure } from "../failure.ts";
import type { StoreFailure } from "../failure.ts";
import { parseErrorDocument } from "../http-request.ts";
import { MiB } from "../../common/units.ts";
import type { Bytes, Milliseconds } from "../../common/units.ts";
import type { TargetFile } from "../range-reader.ts";
import type { Access } from "./access.ts";
import { checksumPlan } from "./checksum-plan.ts";
import { Connection } from "../lean/connection.ts";
import type { BodyPlace, Dial, Receiver } from "../lean/connection.ts";
import { checkAnswer } from "./expect.ts";
import type { Refusal } from "./expect.ts";
import type { Fetch } from "./fetch.ts";
import { RunningChecksum, isFast } from "../running-checksum.ts";
import { MAX_HEAD, ProtocolError } from "../lean/head.ts";
import type { ResponseHead } from "../lean/head.ts";

/** What a lane tells its owner. The fetch is no longer the lane's in `delivered`, `failed` `refused` and `unwritable`. */
export interface LaneOwner {
  readonly slab: Uint8Array;
  /** PIECE long: what a file gets is received here by all lanes, because each read is written before the next. */
  readonly piece: Uint8Array;
  readonly access: Access;
  readonly verifyMd5: boolean;
  now(): Milliseconds;
  /** Connected, or free again. */
  laneReady(lane: Lane): void;
  laneLost(lane: Lane, failure: StoreFailure): void;
  firstByte(lane: Lane): void;
  /** A good head: this lane writes the window from here on. */
  accepted(lane: Lane, fetch: Fetch): void;
  delivered(lane: Lane, fetch: Fetch): void;
  failed(lane: Lane, fetch: Fetch, failure: StoreFailure): void;
  refused(lane: Lane, fetch: Fetch, refusal: Refusal, head: ResponseHead): void;
  /** The file that was to take it does not. */
  unwritable(lane: Lane, fetch: Fetch, error: HawserError): void;
}

/** Most heads fit; longer ones make it grow. What of a body comes with the head has to be copied: so it is small. */
const SCRATCH_BYTES = 2048;
/**
 * Bodies from this length on begin at a whole page of the slab, so that they can go to disk without a copy: their heads
 * are received elsewhere.
 */
const ALIGNED_FROM: Bytes = MiB;
/**
 * A longer write makes the kernel take larger folios, whole runs of memory that were not in use for long, which a hypervisor
 * may have to provide first: with 256 KiB half of some downloads' CPU went there, with this none.
 */
const WRITE_BYTES: Bytes = 64 * 1024;
/** S3's error documents have below 1 KiB. */
const DOCUMENT_BYTES = 16 * 1024;

export type LanePhase = "connecting" | "idle" | "asking" | "receiving" | "closed";

export class Lane implements Receiver {
  readonly #owner: LaneOwner;
  readonly #connection: Connection;
  readonly #place: BodyPlace = { bytes: new Uint8Array(0), at: 0, roomEnd: 0, length: 0, inPieces: false };
  #scratch: Uint8Array | undefined;
  #fetch: Fetch | undefined;
  /** An error answer whose document is being received. */
  #errorHead: ResponseHead | undefined;
  #abandoned = false;
  readonly #endpoint: Endpoint;
  phase: LanePhase = "connecting";
  /** When the phase began, or the last byte came. */
  aliveAt: Milliseconds;
  sentAt: Milliseconds = 0;
  #sentGeneration = 0;

  constructor(owner: LaneOwner, dial: Dial, endpoint: Endpoint) {
    this.#owner = owner;
    this.#endpoint = endpoint;
    this.aliveAt = owner.now();
    this.#connection = new Connection(dial, this);
  }

  get fetch(): Fetch | undefined {
    return this.#fetch;
  }

  /** The access generation that the request under way was written under. */
  get sentGeneration(): number {
    return this.#sentGeneration;
  }

  /** False once a redirect moved the bucket to another host. */
  leadsTo(endpoint: Endpoint): boolean {
    const mine = this.#endpoint;
    return mine === endpoint || (mine.hostname === endpoint.hostname && mine.port === endpoint.port);
  }

  /** Sends a fetch's next request. `exclusive` when no other lane carries it: then the head may land in the window. */
  carry(fetch: Fetch, exclusive: boolean): void {
    const { access } = this.#owner;
    const { key, versionId, etag, offset, length } = fetch.spec;
    this.#fetch = fetch;
    this.#errorHead = undefined;
    this.phase = "asking";
    this.sentAt = this.aliveAt = this.#owner.now();
    this.#sentGeneration = access.generation;
    const first = fetch.whole ? undefined : offset + fetch.received;
    const request = access.write({ key, versionId, etag, first, last: offset + length - 1 });
    const inWindow = exclusive && fetch.received === 0 && length < ALIGNED_FROM && !fetch.spec.file;
    this.#connection.send(request, inWindow ? this.#window(fetch) : this.#scratchBuffer());
  }

  /** Ends the connection; the fetch, if any, fails with this. */
  break(failure: StoreFailure): void {
    this.#connection.destroy(new AttemptFailure(failure));
  }

  /** Ends the connection and forgets the fetch, whose window is not written by it any more. */
  abandon(): void {
    this.#fetch = undefined;
    this.#abandoned = true;
    this.break({ kind: "network", code: "ECONNABORTED", message: "no longer wanted" });
  }

  ready(): void {
    this.phase = "idle";
    this.aliveAt = this.#owner.now();
    this.#owner.laneReady(this);
  }

  firstByte(): void {
    this.aliveAt = this.#owner.now();
    if (this.#fetch) this.#owner.firstByte(this);
  }

  head(head: ResponseHead, headBuffer: Uint8Array, bodyStart: number): BodyPlace {
    const fetch = this.#fetch!;
    this.phase = "receiving";
    if (head.status !== 200 && head.status !== 206) return this.#documentPlace(head);
    const refusal = checkAnswer(head, fetch.expected());
    if (refusal) {
      this.#fetch = undefined;
      this.#owner.refused(this, fetch, refusal, head);
      throw new ProtocolError(refusal.why);
    }
    this.#owner.accepted(this, fetch);
    fetch.mtime = head.headers.get("x-amz-meta-mtime");
    const { file } = fetch.spec;
    if (fetch.whole) {
      const plan = checksumPlan(head.headers, fetch.spec.etag, this.#owner.verifyMd5);
      fetch.checksum = plan && isFast(plan.algorithm) ? plan : undefined;
      fetch.written = file && fetch.checksum && new RunningChecksum(fetch.checksum.algorithm);
    }
    if (fetch.received === 0 && !file) {
      const inWindow = headBuffer.buffer === this.#owner.slab.buffer;
      fetch.bodyOffset = fetch.spec.windowOffset + (inWindow ? bodyStart : MAX_HEAD);
    }
    const place = this.#place;
    place.bytes = file ? this.#owner.piece : this.#owner.slab;
    place.inPieces = file !== undefined;
    place.at = file ? 0 : fetch.bodyOffset + fetch.received;
    place.roomEnd = file ? place.bytes.length : fetch.windowEnd;
    place.length = fetch.remaining;
    fetch.receivedBefore = fetch.received;
    return place;
  }

  progress(received: number): void {
    this.aliveAt = this.#owner.now();
    const fetch = this.#fetch;
    if (!fetch || this.#errorHead) return;
    const total = fetch.receivedBefore + received;
    if (fetch.spec.file) this.#toFile(fetch, fetch.spec.file, total - fetch.received);
    fetch.received = total;
  }

  end(received: number): void {
    const fetch = this.#fetch!;
    const head = this.#errorHead;
    this.#fetch = undefined;
    this.phase = "idle";
    if (this.#connection.closed) {
      this.phase = "closed";
      this.#owner.laneLost(this, { kind: "network", code: "", message: "the store closed the connection" });
    }
    if (head) this.#owner.failed(this, fetch, this.#statedFailure(head, received));
    else if (fetch.remaining === 0) this.#owner.delivered(this, fetch);
    else this.#owner.failed(this, fetch, { kind: "cut", code: "", message: "the answer ended early" });
  }

  lost(error: Error): void {
    const fetch = this.#fetch;
    const stale = this.phase === "asking" && this.#connection.reused && !(error instanceof ProtocolError);
    this.#fetch = undefined;
    this.phase = "closed";
    const failure = failureOf(error, stale);
    this.#owner.laneLost(this, failure);
    if (fetch && !this.#abandoned) this.#owner.failed(this, fetch, failure);
  }

  /** Writes the piece that has just come: while it is in the processor's cache. */
  #toFile(fetch: Fetch, { fd, path }: TargetFile, length: Bytes): void {
    const piece = this.#place.bytes.subarray(this.#place.at, this.#place.at + length);
    try {
      for (let done = 0; done < length;) {
        done += writeSync(fd, piece, done, Math.min(WRITE_BYTES, length - done), fetch.received + done);
      }
    } catch (error) {
      this.#fetch = undefined;
      this.#owner.unwritable(this, fetch, localError(error, path));
      throw error;
    }
    fetch.written?.add(piece);
  }

  /** The window from its start, wherever the slab begins in its buffer. */
  #window(fetch: Fetch): Uint8Array {
    return this.#owner.slab.subarray(fetch.spec.windowOffset, fetch.windowEnd);
  }

  #scratchBuffer(): Uint8Array {
    return (this.#scratch ??= new Uint8Array(SCRATCH_BYTES));
  }

  #documentPlace(head: ResponseHead): BodyPlace {
    this.#errorHead = head;
    const place = this.#place;
    place.bytes = new Uint8Array(DOCUMENT_BYTES);
    place.at = 0;
    place.inPieces = false;
    place.roomEnd = place.length = DOCUMENT_BYTES;
    return place;
  }

  #statedFailure(head: ResponseHead, received: number): StoreFailure {
    const text = Buffer.from(this.#place.bytes.buffer, 0, received).toString("utf8");
    return answerFailure(head.status, Object.fromEntries(head.headers), parseErrorDocument(text));
  }
}

/** The S3 code of a request that a kept-alive connection swallowed: the server had closed it before it arrived. */
export const STALE = "STALE_CONNECTION";

function failureOf(error: Error, stale: boolean): StoreFailure {
  if (error instanceof ProtocolError) {
    return { kind: "unexpected", code: "garbled", message: error.message, cause: error };
  }
  const failure = describeFailure(error);
  return stale && failure.kind === "network" ? { ...failure, code: STALE } : failure;
}
