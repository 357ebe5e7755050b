/**
 * A lane of the sender: one connection, and the request that it sends at the moment.
 *
 * Body and answer go their own ways: an answer may come before the body is sent, and then ends it. Such a connection is
 * not used again, because the store may take what follows for the rest of the body.
 */
import type { Bytes, Milliseconds } from "../../common/units.ts";
import type { Endpoint } from "../endpoint.ts";
import { AttemptFailure, describeFailure } from "../failure.ts";
import type { StoreFailure } from "../failure.ts";
import { Connection } from "../lean/connection.ts";
import type { BodyPlace, Dial, Receiver } from "../lean/connection.ts";
import { ProtocolError } from "../lean/head.ts";
import type { ResponseHead } from "../lean/head.ts";
import type { Body } from "./body.ts";
import { PIECE_BYTES } from "./blocks.ts";

export interface LaneOwner {
  now(): Milliseconds;
  /** Connected, or free again. */
  laneReady(lane: Lane): void;
  laneLost(lane: Lane, failure: StoreFailure): void;
}

/** An answer as it came. */
export interface RawAnswer {
  head: ResponseHead;
  text: string;
}

/** Most heads fit; longer ones make it grow. */
const SCRATCH_BYTES: Bytes = 2048;
/** S3's error documents have below 1 KiB; of longer ones the beginning is read. */
const DOCUMENT_BYTES: Bytes = 16 * 1024;

/**
 * What a lane waits for: `source` is the local file's turn, everything else the store's. `closed` stays.
 */
export type LanePhase = "connecting" | "idle" | "continue" | "writing" | "source" | "answer" | "closed";

/** The store closed a kept-alive connection before this request arrived. */
export class StaleConnection extends Error {
  override readonly name = "StaleConnection";
}

interface Carried {
  resolve(answer: RawAnswer): void;
  reject(error: Error): void;
}

export class Lane implements Receiver {
  readonly #owner: LaneOwner;
  readonly #endpoint: Endpoint;
  readonly #connection: Connection;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  #document: Uint8Array | undefined;
  #carried: Carried | undefined;
  #head: ResponseHead | undefined;
  #answering = false;
  /** Given to the socket and not yet taken by the kernel. */
  #writing = 0;
  #bodySent = true;
  #goOn: (() => void) | undefined;
  phase: LanePhase = "connecting";
  answerMs: Milliseconds | undefined;
  /** When the phase began. */
  since: Milliseconds;

  constructor(owner: LaneOwner, dial: Dial, endpoint: Endpoint) {
    this.#owner = owner;
    this.#endpoint = endpoint;
    this.since = owner.now();
    this.#connection = new Connection(dial, this);
  }

  /** False once a redirect moved the bucket to another host. */
  leadsTo(endpoint: Endpoint): boolean {
    const mine = this.#endpoint;
    return mine === endpoint || (mine.hostname === endpoint.hostname && mine.port === endpoint.port);
  }

  /**
   * Sends one request.
   *
   * @param expect wait for the store's word before the body
   * @param answerMs silence allowed until the answer; what an upload may take when absent
   * @throws HawserError from the body; AttemptFailure, ProtocolError, StaleConnection
   */
  async carry(head: string, body: Body, expect: boolean, answerMs?: Milliseconds): Promise<RawAnswer> {
    this.answerMs = answerMs;
    const answer = new Promise<RawAnswer>((resolve, reject) => (this.#carried = { resolve, reject }));
    // It may fail while the body is still being written; that is looked at after.
    answer.catch(() => undefined);
    this.#head = undefined;
    this.#answering = false;
    this.#bodySent = body.sizeBytes === 0;
    try {
      await this.#send(head, body, expect);
    } catch (error) {
      this.#carried = undefined;
      this.abandon();
      throw error;
    }
    if (!this.#answering) this.#enter("answer");
    return await answer;
  }

  /** The store keeps silent about whether it wants the body: it gets it. */
  goOn(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }

  /** Ends the connection; the request, if any, fails with this. */
  break(failure: StoreFailure): void {
    this.#connection.destroy(new AttemptFailure(failure));
  }

  abandon(): void {
    this.break({ kind: "network", code: "ECONNABORTED", message: "no longer wanted" });
  }

  // What the connection tells.

  ready(): void {
    this.#enter("idle");
    this.#owner.laneReady(this);
  }

  firstByte(): void {
    this.since = this.#owner.now();
  }

  interim(status: number): void {
    if (status === 100) this.goOn();
  }

  head(head: ResponseHead): BodyPlace {
    this.#head = head;
    this.#answering = true;
    this.#enter("answer");
    this.goOn();
    const none = !head.chunked && (head.contentLength ?? 0) === 0;
    const bytes = none ? this.#scratch : (this.#document ??= new Uint8Array(DOCUMENT_BYTES));
    const room = none ? 0 : bytes.length;
    return { bytes, at: 0, roomEnd: room, length: room };
  }

  progress(): void {
    this.since = this.#owner.now();
  }

  end(received: number): void {
    const carried = this.#carried!;
    this.#carried = undefined;
    const text = received === 0 ? "" : Buffer.from(this.#document!.buffer, 0, received).toString("utf8");
    carried.resolve({ head: this.#head!, text });
    if (this.#connection.closed) this.#gone({ kind: "network", code: "", message: "closed by the store" });
    else if (!this.#bodySent || this.#writing > 0) this.abandon();
  }

  lost(error: Error): void {
    const carried = this.#carried;
    this.#carried = undefined;
    const failure = failureOf(error);
    const unheard = this.phase !== "connecting" && !this.#answering && failure.kind === "network";
    const stale = unheard && this.#connection.reused && failure.code !== "ECONNABORTED";
    this.#gone(failure);
    this.goOn();
    carried?.reject(stale ? new StaleConnection(failure.message) : new AttemptFailure(failure));
  }

  // Sending.

  async #send(head: string, body: Body, expect: boolean): Promise<void> {
    if (body.sizeBytes === 0 || expect) {
      this.#enter("writing");
      await this.#written((done) => this.#connection.send(head, this.#scratch, done));
      if (expect) await this.#askFirst();
      if (!this.#over && body.sizeBytes > 0) await this.#sendFrom(0, undefined, body);
      return;
    }
    await this.#sendFrom(0, head, body);
  }

  #askFirst(): Promise<void> | undefined {
    if (this.#over) return undefined;
    this.#enter("continue");
    return new Promise((resolve) => (this.#goOn = resolve));
  }

  /** Answered already, or gone. */
  get #over(): boolean {
    return this.#answering || this.phase === "closed";
  }

  async #sendFrom(from: Bytes, head: string | undefined, body: Body): Promise<void> {
    let before: Promise<void> | undefined;
    for (let at = from; at < body.sizeBytes; at += PIECE_BYTES) {
      const reading = body.piece(at);
      if (!before && reading instanceof Promise) this.#enter("source");
      const piece = reading instanceof Promise ? await reading : reading;
      if (before) await before;
      if (this.#over) return;
      if (at + PIECE_BYTES >= body.sizeBytes) this.#bodySent = true;
      this.#enter("writing");
      before = this.#written((done) => {
        if (at > 0 || head === undefined) {
          this.#connection.write(piece.buffer.subarray(piece.start, piece.end), done);
        } else this.#sendTogether(head, piece.buffer, piece.start, piece.end, done);
      });
    }
    await before;
  }

  /** One write, one packet for a small body: the head is put in front of the piece. */
  #sendTogether(head: string, buffer: Buffer, start: number, end: number, done: () => void): void {
    if (head.length > start) {
      this.#connection.send(head, this.#scratch);
      this.#connection.write(buffer.subarray(start, end), done);
      return;
    }
    buffer.write(head, start - head.length, "latin1");
    this.#connection.send(buffer.subarray(start - head.length, end), this.#scratch, done);
  }

  /** Resolves when the kernel has it, or the connection is gone. */
  #written(write: (done: () => void) => void): Promise<void> {
    this.#writing++;
    return new Promise((resolve) => {
      write(() => {
        this.#writing--;
        this.since = this.#owner.now();
        resolve();
      });
    });
  }

  #enter(phase: LanePhase): void {
    if (this.phase === "closed") return;
    this.phase = phase;
    this.since = this.#owner.now();
  }

  #gone(failure: StoreFailure): void {
    if (this.phase === "closed") return;
    this.phase = "closed";
    this.#owner.laneLost(this, failure);
  }
}

function failureOf(error: Error): StoreFailure {
  if (error instanceof ProtocolError) {
    return { kind: "answer", code: "InternalError", httpStatus: 502, message: error.message };
  }
  const { cause: _, ...failure } = describeFailure(error);
  return failure;
}
