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
import * as fs from "node:fs";
import { EMPTY_SHA256 } from "../../common/sigv4.ts";
import type { Bytes } from "../../common/units.ts";
import { base64Of32, crc32c } from "../crc.ts";
import { sourceError, wrongLength } from "../put-body.ts";
import { PIECE_BYTES } from "./blocks.ts";
import type { Blocks } from "./blocks.ts";
import { HEAD_ROOM } from "./protocol.ts";
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

/** @throws HawserError `io_error` when the file cannot be opened */
export async function openBody(source: Source, blocks: Blocks): Promise<Body> {
  if (source.kind === "memory") return new MemoryBody(source.buffer);
  const { file, offset, sizeBytes } = source;
  if (typeof file === "number") return new FileBody(file, false, offset, sizeBytes, blocks);
  return new FileBody(await open(file), true, offset, sizeBytes, blocks);
}

class MemoryBody implements Body {
  readonly sizeBytes: Bytes;
  readonly #buffer: Buffer;

  constructor(buffer: ArrayBuffer) {
    this.#buffer = Buffer.from(buffer);
    this.sizeBytes = buffer.byteLength - HEAD_ROOM;
  }

  digest(wanted: Wanted): Promise<Digests> {
    const digests = new Digesting(wanted);
    digests.update(this.#buffer.subarray(HEAD_ROOM));
    return Promise.resolve(digests.result());
  }

  piece(at: Bytes): Piece {
    const end = Math.min(at + PIECE_BYTES, this.sizeBytes);
    return { buffer: this.#buffer, start: HEAD_ROOM + at, end: HEAD_ROOM + end };
  }

  close(): void {
    // The buffer was this body's alone.
  }
}

class FileBody implements Body {
  readonly sizeBytes: Bytes;
  readonly #fd: number;
  readonly #own: boolean;
  readonly #offset: Bytes;
  readonly #blocks: Blocks;
  readonly #taken: Buffer[] = [];
  #turn = 0;
  /** The only piece, once it was read. */
  #only: Piece | undefined;

  constructor(fd: number, own: boolean, offset: Bytes, sizeBytes: Bytes, blocks: Blocks) {
    this.#fd = fd;
    this.#own = own;
    this.#offset = offset;
    this.sizeBytes = sizeBytes;
    this.#blocks = blocks;
  }

  async digest(wanted: Wanted): Promise<Digests> {
    const digests = new Digesting(wanted);
    if (wanted.crc32c || wanted.sha256) {
      for (let at = 0; at < this.sizeBytes; at += PIECE_BYTES) {
        const { buffer, start, end } = await this.piece(at);
        digests.update(buffer.subarray(start, end));
      }
    }
    return digests.result();
  }

  piece(at: Bytes): Piece | Promise<Piece> {
    return this.#only ?? this.#read(at);
  }

  close(): void {
    for (const block of this.#taken.splice(0)) this.#blocks.giveBack(block);
    // Read-only: there is nothing to be told.
    if (this.#own) fs.close(this.#fd, () => undefined);
  }

  async #read(at: Bytes): Promise<Piece> {
    const single = this.sizeBytes <= PIECE_BYTES;
    const buffer = this.#block(single ? 0 : (this.#turn ^= 1));
    const length = Math.min(PIECE_BYTES, this.sizeBytes - at);
    for (let got = 0; got < length;) {
      const count = await read(this.#fd, buffer, HEAD_ROOM + got, length - got, this.#offset + at + got);
      if (count === 0) throw wrongLength(this.sizeBytes, String(at + got));
      got += count;
    }
    const piece = { buffer, start: HEAD_ROOM, end: HEAD_ROOM + length };
    if (single) this.#only = piece;
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
      crc32c: this.#crc === undefined ? undefined : base64Of32(this.#crc),
      sha256: this.#hash && (this.#empty ? EMPTY_SHA256 : this.#hash.digest("hex")),
    };
  }
}

function open(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, "r", (error, fd) => {
      if (error) reject(sourceError(error));
      else resolve(fd);
    });
  });
}

function read(fd: number, buffer: Buffer, start: number, length: Bytes, position: Bytes): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, buffer, start, length, position, (error, count) => {
      if (error) reject(sourceError(error));
      else resolve(count);
    });
  });
}
