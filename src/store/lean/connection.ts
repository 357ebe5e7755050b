/**
 * One connection to the store: sends a request, receives its answer where the receiver wants it.
 *
 * A request's body follows its head by `write`; an answer may come before all of it is sent.
 *
 * The socket asks us for a buffer before every read (`onread.buffer`), so the kernel (or the TLS layer) writes into the
 * window of the slab itself. What makes that work:
 *
 * - The buffer for a read is chosen when the read before it ends, and for an idle connection that is long before the
 *   next request is known. So an idle connection's buffer is a single byte, the *probe*: the first byte of an answer
 *   lands there and is put in its place, and all that follows goes into the window. A byte that arrives when nothing
 *   was asked breaks the connection.
 * - A head's length is unknown before it was received, so the body's first bytes come in the same read, right behind
 *   it. Where that must not be (a resumed body), the receiver gives a small private buffer for the head, and what came
 *   behind it, at most that buffer, is copied.
 * - Once the head is parsed, every buffer ends where the body ends: no server can make us write behind it.
 * - Nothing is pipelined: bytes behind a body are a violation of the protocol.
 *
 * After `destroy()` the window is not written any more: closing a handle ends reading at once, and the buffer is the
 * probe again.
 */
import type { Socket } from "node:net";
import { AttemptFailure } from "../failure.ts";
import { ChunkedDecoder } from "./chunked.ts";
import { MAX_HEAD, ProtocolError, findHeadEnd, parseHead } from "./head.ts";
import type { ResponseHead } from "./head.ts";

/** Where a body goes. One object per receiver, reused. */
export interface BodyPlace {
  bytes: Uint8Array;
  /** Of the body's first byte in `bytes`. */
  at: number;
  /** Chunked bodies have room up to here, their overhead included. */
  roomEnd: number;
  /** Bytes to receive; a body with a longer one is cut off there, and its connection with it. */
  length: number;
  /** Set when `progress` takes what has come: each read then begins at `at` again, and ends at `roomEnd` at the latest. */
  inPieces?: boolean;
}

/** What a connection tells its user. Every call of `sent` ends in exactly one of `end` and `lost`. */
export interface Receiver {
  /** Connected, or free again: another request may be sent. Not called after a `Connection: close`. */
  ready(): void;
  /** The answer's first byte is here. */
  firstByte(): void;
  /** An interim answer such as 100 Continue; the answer proper follows. */
  interim?(status: number): void;
  /**
   * The head is complete and occupies `headBuffer[start, bodyStart)`; the body follows it in the same buffer.
   * May throw.
   */
  head(head: ResponseHead, headBuffer: Uint8Array, bodyStart: number): BodyPlace;
  /** So many bytes of the body are in their place, in all. */
  progress(received: number): void;
  /** The body is complete; `received` is its length. The connection may be used from `ready` on. May throw. */
  end(received: number): void;
  /** The connection is gone, in mid-answer or idle. */
  lost(error: Error): void;
}

/** Opens a socket that reads through `onread`. */
export type Dial = (onread: { buffer: () => Uint8Array; callback: (bytesRead: number) => boolean }) => {
  socket: Socket;
  connected: "connect" | "secureConnect";
};

type State = "connecting" | "idle" | "sent" | "head" | "body" | "chunks" | "closed";

export class Connection {
  readonly #receiver: Receiver;
  readonly #socket: Socket;
  readonly #probe = new Uint8Array(1);
  readonly #chunks = new ChunkedDecoder();
  #state: State = "connecting";
  /** The buffer of the next read. */
  #next: Uint8Array = this.#probe;
  #reading = false;
  #head: Uint8Array = this.#probe;
  #headStart = 0;
  #headLength = 0;
  #place: BodyPlace = { bytes: this.#probe, at: 0, roomEnd: 0, length: 0 };
  #received = 0;
  #keepAlive = true;
  #requests = 0;

  constructor(dial: Dial, receiver: Receiver) {
    this.#receiver = receiver;
    const { socket, connected } = dial({
      buffer: () => this.#next,
      callback: (bytesRead) => this.#onRead(bytesRead),
    });
    this.#socket = socket;
    socket.once(connected, () => {
      if (this.#state !== "connecting") return;
      this.#state = "idle";
      receiver.ready();
    });
    socket.on("error", (error) => this.destroy(error));
    socket.on("end", () => this.destroy(endOfStream()));
    socket.on("close", () => this.destroy(endOfStream()));
  }

  get idle(): boolean {
    return this.#state === "idle";
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** True when the request under way is not the connection's first: the server may have closed it unseen. */
  get reused(): boolean {
    return this.#requests > 1;
  }

  /**
   * Sends a request; the connection must be idle. The answer's head lands in `headBuffer`.
   *
   * @param request in latin1, or bytes that may be changed once `written` is called
   */
  send(request: string | Uint8Array, headBuffer: Uint8Array, written?: () => void): void {
    this.#requests++;
    this.#head = headBuffer;
    this.#headStart = 0;
    this.#headLength = 0;
    this.#received = 0;
    if (this.#reading) {
      // Sent from within the callback of the last answer's last read: the next buffer is still ours to choose.
      this.#state = "head";
      this.#next = headBuffer;
    } else {
      this.#state = "sent";
    }
    if (typeof request === "string") this.#socket.write(request, "latin1", written);
    else this.#socket.write(request, written);
  }

  /** Sends more of the request. The bytes may be changed once `written` is called, which happens after a loss too. */
  write(bytes: Uint8Array, written: () => void): void {
    this.#socket.write(bytes, written);
  }

  /** Ends the connection; `lost` is told, once. May be called at any time. */
  destroy(error: Error): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#next = this.#probe;
    this.#socket.destroy();
    this.#receiver.lost(error);
  }

  #onRead(bytesRead: number): boolean {
    this.#reading = true;
    try {
      this.#take(bytesRead);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#reading = false;
    }
    return true;
  }

  #take(bytesRead: number): void {
    switch (this.#state) {
      case "sent":
        this.#head[0] = this.#probe[0]!;
        this.#state = "head";
        return this.#takeHead(bytesRead);
      case "head":
        return this.#takeHead(bytesRead);
      case "body":
        this.#received += bytesRead;
        return this.#takeBody();
      case "chunks":
        return this.#takeChunks(bytesRead);
      case "closed":
        return;
      default:
        throw new ProtocolError("The store sent something that was not asked for.");
    }
  }

  #takeHead(bytesRead: number): void {
    if (this.#headLength === 0) this.#receiver.firstByte();
    const seen = this.#headLength;
    this.#headLength += bytesRead;
    const end = findHeadEnd(this.#head, this.#headStart, seen, this.#headLength);
    if (end - this.#headStart > MAX_HEAD || (end < 0 && this.#headLength - this.#headStart > MAX_HEAD)) {
      throw new ProtocolError("The answer's head is too long.");
    }
    if (end < 0) {
      if (this.#headLength === this.#head.length) this.#growHead();
      this.#next = this.#head.subarray(this.#headLength);
      return;
    }
    const head = parseHead(latin1(this.#head, this.#headStart, end));
    if (head.status < 200) return this.#skipInterim(head.status, end);
    this.#beginBody(head, end);
  }

  /** 100 Continue and its like: the answer proper follows. */
  #skipInterim(status: number, end: number): void {
    this.#receiver.interim?.(status);
    const rest = this.#headLength - end;
    this.#headStart = end;
    this.#headLength = end;
    if (this.#headStart > MAX_HEAD) throw new ProtocolError("The answer has too many interim heads.");
    if (this.#headLength + rest === this.#head.length) this.#growHead();
    if (rest > 0) this.#takeHead(rest);
    else this.#next = this.#head.subarray(this.#headLength);
  }

  /** Only private buffers are ever too small: a window has room for the longest head. */
  #growHead(): void {
    const grown = new Uint8Array(this.#head.length * 2);
    grown.set(this.#head);
    this.#head = grown;
  }

  #beginBody(head: ResponseHead, end: number): void {
    const behind = this.#headLength - end;
    const place = this.#receiver.head(head, this.#head, end);
    if (this.#state === "closed") return;
    this.#place = place;
    this.#keepAlive = head.keepAlive;
    if (head.chunked) {
      if (behind > place.roomEnd - place.at) throw new ProtocolError("The answer's chunks do not fit.");
      this.#moveBehindHead(end, behind);
      this.#state = "chunks";
      this.#chunks.reset();
      return this.#takeChunks(behind);
    }
    const bodiless = head.status === 204 || head.status === 304;
    const length = bodiless ? 0 : (head.contentLength ?? 0);
    // A body without a length ends with the connection, and one with too much of it is not worth receiving.
    if (length > place.length || (head.contentLength === undefined && !bodiless)) this.#keepAlive = false;
    else if (behind > length) throw new ProtocolError("The answer is longer than it says.");
    place.length = Math.min(place.length, length);
    this.#received = Math.min(behind, place.length);
    this.#moveBehindHead(end, this.#received);
    this.#state = "body";
    this.#takeBody();
  }

  /** What came in one read with the head: already in place when the head lies in the window too. */
  #moveBehindHead(end: number, length: number): void {
    const { bytes, at } = this.#place;
    if (length === 0 || bytes.buffer === this.#head.buffer) return;
    bytes.set(this.#head.subarray(end, end + length), at);
  }

  #takeBody(): void {
    const { bytes, at, roomEnd, length, inPieces } = this.#place;
    if (this.#received > 0) this.#receiver.progress(this.#received);
    if (this.#state !== "body") return;
    if (this.#received === length) return this.#end();
    if (inPieces) this.#next = bytes.subarray(at, Math.min(roomEnd, at + length - this.#received));
    else this.#next = bytes.subarray(at + this.#received, at + length);
  }

  #takeChunks(raw: number): void {
    const { bytes, at, roomEnd, length, inPieces } = this.#place;
    const before = this.#received;
    const from = inPieces ? at : at + before;
    this.#received = before + this.#chunks.decode(bytes, from, from + raw) - from;
    if (this.#received > length) throw new ProtocolError("The answer has more bytes than were asked for.");
    if (this.#received > before) this.#receiver.progress(this.#received);
    if (this.#state !== "chunks") return;
    if (this.#chunks.done) return this.#end();
    const next = inPieces ? at : at + this.#received;
    if (next >= roomEnd) throw new ProtocolError("The answer's chunks do not fit.");
    this.#next = bytes.subarray(next, roomEnd);
  }

  #end(): void {
    const received = this.#received;
    this.#state = "idle";
    this.#next = this.#probe;
    if (!this.#keepAlive) {
      // The answer is complete, so nobody needs to be told of the loss.
      this.#state = "closed";
      this.#socket.destroy();
    }
    this.#receiver.end(received);
    if (this.#state === "idle") this.#receiver.ready();
  }
}

function endOfStream(): AttemptFailure {
  return new AttemptFailure({
    kind: "network",
    code: "ECONNRESET",
    message: "the store closed the connection",
  });
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1");
}
