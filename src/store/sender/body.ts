/**
 * Bodies on the sender's side: read in pieces, for their digests and for the socket.
 *
 * A body of one piece is read once and stays in its block: so the common small file costs one read, even if it is sent
 * again. A larger one is read twice, for the checksum that its head must carry and for the socket; the second time it
 * comes from the page cache, which costs less than the framing of a trailer and what stores make of it.
 *
 * A body has two blocks and fills one while the other is being written: `piece` may be called once the write of the
 * piece before the last is done.
 */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { EMPTY_SHA256 } from "../../common/sigv4.ts";
import { MiB } from "../../common/units.ts";
import type { Bytes } from "../../common/units.ts";
import { crc32c, crc32cBase64 } from "../../common/checksum.ts";
import { wrongLength } from "../put-body.ts";
import { HEAD_ROOM } from "../shared-body.ts";
import { PIECE_BYTES } from "./blocks.ts";
import type { Blocks } from "./blocks.ts";
import type { LocalFiles } from "./local-file.ts";
import type { Source } from "./protocol.ts";

export interface Digests {
  /** base64 */
  crc32c: string | undefined;
  /** Hex. */
  sha256: string | undefined;
}

/** Which digests are wanted. */
export interface Wanted {
  crc32c: boolean;
  sha256: boolean;
}

/** Bytes of a body in a buffer that has HEAD_ROOM in front of a body's first piece. */
export interface Piece {
  buffer: Buffer;
  start: number;
  end: number;
}

export interface Body {
  readonly sizeBytes: Bytes;
  /** Reads all of it. @throws HawserError `io_error`, `invalid_argument` */
  digest(wanted: Wanted): Promise<Digests>;
  /** The piece that begins at `at`: PIECE_BYTES, or what is left. @throws HawserError as `digest` */
  piece(at: Bytes): Piece | Promise<Piece>;
  /** Gives its blocks back: nothing reads them any more. */
  close(): void;
}

/** Digests let others have a turn after so many bytes: about a millisecond. */
const TURN_BYTES: Bytes = 4 * MiB;

const NOTHING = new ArrayBuffer(HEAD_ROOM);

/** @throws HawserError `io_error` when the file cannot be opened */
export async function openBody(source: Source, files: LocalFiles, blocks: Blocks): Promise<Body> {
  if (source.kind === "none") return new MemoryBody(NOTHING, 0);
  if (source.kind === "memory") return new MemoryBody(source.buffer, source.sizeBytes);
  const { file, offset, sizeBytes } = source;
  const own = typeof file === "string";
  const fd = own ? await files.open(file) : file;
  return new FileBody({ fd, own, offset, sizeBytes }, files, blocks);
}

class MemoryBody implements Body {
  readonly sizeBytes: Bytes;
  readonly #buffer: Buffer;

  constructor(buffer: ArrayBuffer | SharedArrayBuffer, sizeBytes: Bytes) {
    this.#buffer = Buffer.from(buffer, 0);
    this.sizeBytes = sizeBytes;
  }

  digest(wanted: Wanted): Promise<Digests> {
    const digests = new Digesting(wanted);
    digests.update(this.#buffer.subarray(HEAD_ROOM, HEAD_ROOM + this.sizeBytes));
    return Promise.resolve(digests.result());
  }

  piece(at: Bytes): Piece {
    const end = Math.min(at + PIECE_BYTES, this.sizeBytes);
    return { buffer: this.#buffer, start: HEAD_ROOM + at, end: HEAD_ROOM + end };
  }

  close(): void {
    // The buffer belongs to the request.
  }
}

interface OpenRange {
  fd: number;
  /** Opened for this body. */
  own: boolean;
  offset: Bytes;
  sizeBytes: Bytes;
}

class FileBody implements Body {
  readonly sizeBytes: Bytes;
  readonly #range: OpenRange;
  readonly #files: LocalFiles;
  readonly #blocks: Blocks;
  readonly #taken: Buffer[] = [];
  #turn = 0;
  /** The only piece, once it was read. */
  #only: Piece | undefined;

  constructor(range: OpenRange, files: LocalFiles, blocks: Blocks) {
    this.sizeBytes = range.sizeBytes;
    this.#range = range;
    this.#files = files;
    this.#blocks = blocks;
  }

  async digest(wanted: Wanted): Promise<Digests> {
    const digests = new Digesting(wanted);
    if (wanted.crc32c || wanted.sha256) {
      for (let at = 0; at < this.sizeBytes; at += PIECE_BYTES) {
        const reading = this.piece(at);
        const { buffer, start, end } = reading instanceof Promise ? await reading : reading;
        digests.update(buffer.subarray(start, end));
        if (at > 0 && at % TURN_BYTES === 0) await setImmediate();
      }
    }
    return digests.result();
  }

  piece(at: Bytes): Piece | Promise<Piece> {
    return this.#only ?? this.#read(at);
  }

  close(): void {
    for (const block of this.#taken.splice(0)) this.#blocks.giveBack(block);
    if (this.#range.own) this.#files.close(this.#range.fd);
  }

  #read(at: Bytes): Piece | Promise<Piece> {
    const single = this.sizeBytes <= PIECE_BYTES;
    const buffer = this.#block(single ? 0 : (this.#turn ^= 1));
    const length = Math.min(PIECE_BYTES, this.sizeBytes - at);
    const piece = { buffer, start: HEAD_ROOM, end: HEAD_ROOM + length };
    if (single) this.#only = piece;
    const count = this.#fill(piece, at, 0);
    if (count === length) return piece;
    return this.#rest(piece, at, count);
  }

  /** One read of what is missing of a piece behind its first `got` bytes. */
  #fill(piece: Piece, at: Bytes, got: Bytes): number | Promise<number> {
    const { fd, offset } = this.#range;
    const start = piece.start + got;
    return this.#files.read(fd, piece.buffer, start, piece.end - start, offset + at + got);
  }

  async #rest(piece: Piece, at: Bytes, first: number | Promise<number>): Promise<Piece> {
    let count = await first;
    for (let got = count; got < piece.end - piece.start; got += count) {
      if (count === 0) throw wrongLength(this.sizeBytes, String(at + got));
      count = await this.#fill(piece, at, got);
    }
    return piece;
  }

  #block(index: number): Buffer {
    while (this.#taken.length <= index) this.#taken.push(this.#blocks.take());
    return this.#taken[index]!;
  }
}

class Digesting {
  #crc: number | undefined;
  readonly #hash: Hash | undefined;
  #empty = true;

  constructor(wanted: Wanted) {
    this.#crc = wanted.crc32c ? 0 : undefined;
    this.#hash = wanted.sha256 ? createHash("sha256") : undefined;
  }

  update(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#empty = false;
    if (this.#crc !== undefined) this.#crc = crc32c(bytes, this.#crc);
    this.#hash?.update(bytes);
  }

  result(): Digests {
    return {
      crc32c: this.#crc === undefined ? undefined : crc32cBase64(this.#crc),
      sha256: this.#hash && (this.#empty ? EMPTY_SHA256 : this.#hash.digest("hex")),
    };
  }
}
