/**
 * Chunked transfer encoding, undone in place.
 *
 * S3 sends object content with a length; chunks come with error bodies and from proxies. So this is the slow path: the
 * raw bytes are received where the content belongs, and moved down over the chunk headers between them. What has been
 * decoded always ends where the next raw bytes go.
 */
import { ProtocolError } from "./head.ts";

const MAX_SIZE_DIGITS = 8;
/** Extensions and trailers together; we use neither. */
const MAX_OVERHEAD_LINE = 4096;

const LF = 10;
const CR = 13;

type State = "size" | "extension" | "size-end" | "data" | "data-end" | "trailer" | "done";

export class ChunkedDecoder {
  #state: State = "size";
  #size = 0;
  #digits = 0;
  /** Bytes of the current extension or trailer line. */
  #line = 0;

  get done(): boolean {
    return this.#state === "done";
  }

  reset(): void {
    this.#state = "size";
    this.#size = 0;
    this.#digits = 0;
    this.#line = 0;
  }

  /**
   * Decodes `bytes[from, to)` to `bytes[from, result)`.
   *
   * @returns the end of the decoded content
   * @throws ProtocolError on malformed chunks, and on bytes behind the last one
   */
  decode(bytes: Uint8Array, from: number, to: number): number {
    let out = from;
    let at = from;
    while (at < to) {
      if (this.#state === "data") {
        const length = Math.min(this.#size, to - at);
        if (out !== at) bytes.copyWithin(out, at, at + length);
        out += length;
        at += length;
        this.#size -= length;
        if (this.#size === 0) this.#state = "data-end";
        continue;
      }
      this.#step(bytes[at++]!);
    }
    return out;
  }

  #step(byte: number): void {
    switch (this.#state) {
      case "size":
        return this.#sizeByte(byte);
      case "extension":
        if (byte === CR) this.#state = "size-end";
        else if (byte === LF) malformed();
        else this.#overhead();
        return;
      case "size-end":
        if (byte !== LF) malformed();
        this.#line = 0;
        this.#state = this.#size === 0 ? "trailer" : "data";
        return;
      case "data-end":
        // Two bytes: the line counter tells which.
        if (byte !== (this.#line === 0 ? CR : LF)) malformed();
        if (this.#line++ === 1) this.reset();
        return;
      case "trailer":
        return this.#trailerByte(byte);
      default:
        malformed();
    }
  }

  #sizeByte(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) malformed();
      this.#size = this.#size * 16 + digit;
      return;
    }
    if (this.#digits === 0) malformed();
    if (byte === CR) this.#state = "size-end";
    else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#state = "extension";
    else malformed();
  }

  /** `#digits` is -1 after a CR. An empty line ends the trailers. */
  #trailerByte(byte: number): void {
    if (byte === LF) {
      if (this.#digits !== -1) malformed();
      if (this.#line === 0) this.#state = "done";
      this.#line = 0;
      this.#digits = 0;
      return;
    }
    if (this.#digits === -1) malformed();
    if (byte === CR) this.#digits = -1;
    else this.#overhead();
  }

  #overhead(): void {
    if (++this.#line > MAX_OVERHEAD_LINE) malformed();
  }
}

function malformed(): never {
  throw new ProtocolError("The answer's chunks are malformed.");
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
