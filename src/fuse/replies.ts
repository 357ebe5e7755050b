/**
 * Replies: every way to answer a request, each sending exactly once.
 *
 * Fixed-size replies are built in one buffer that is reused for all of them: sending copies. Data goes out from where it
 * lies. Below INLINE_BYTES the write happens here; from there on a writer thread does it, and the memory stays pinned
 * (the ReadReply unreleased) until `settleWritten` hears that it was written.
 */
import { constants } from "node:os";
import type { NativeConnection, Result } from "../common/native.ts";
import { KiB, type Bytes } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { AttributesReply, Entry, OpenReply, ReadReply, StatfsReply } from "../vfs/filesystem.ts";
import type { DirentBuffer } from "./dirent-buffer.ts";
import { putAttributesReply, putEntry, putU64 } from "./encode.ts";
import { INIT_OUT_BYTES, putInitReply, type Negotiated } from "./init.ts";
import { ENTRY_OUT_BYTES, OpenReplyFlag, OUT_HEADER_BYTES } from "./protocol.ts";
import type { Request } from "./request.ts";

/** From here on copying into the page cache takes longer than waking a thread. */
const INLINE_BYTES = 64 * KiB;
/** The same for a reply that no other request waits behind: waking a thread takes as long as copying 64 KiB. */
const INLINE_ALONE_BYTES = 512 * KiB;
/** The largest reply that is no file data: an extended attribute of 64 KiB. */
const BUFFER_BYTES = 64 * KiB + 4 * KiB;
/** Index of the first word behind the reply's header. */
const BODY = OUT_HEADER_BYTES >>> 2;
const OPEN_OUT_BYTES = 16;
const ATTR_OUT_BYTES = 104;
const STATFS_OUT_BYTES = 80;

/** The request was withdrawn, or the connection is gone: nobody is left to tell. */
const HARMLESS = new Set<number>([
  0,
  -constants.errno.ENOENT,
  -constants.errno.ENODEV,
  -constants.errno.EBADF,
  -constants.errno.ECONNABORTED,
]);

export class Replies {
  readonly #connection: NativeConnection;
  readonly #logger: Logger;
  readonly #bytes = new Uint8Array(BUFFER_BYTES);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  /** Replies that writer threads hold, by job id; undefined where the id is free. */
  readonly #writing: (ReadReply | undefined)[] = [];
  readonly #freeIds: number[] = [];

  constructor(connection: NativeConnection, logger: Logger) {
    this.#connection = connection;
    this.#logger = logger;
  }

  empty(request: Request): void {
    this.#send(request, 0);
  }

  /** @param errno positive */
  error(request: Request, errno: number): void {
    this.#header(this.#words, request, OUT_HEADER_BYTES, -errno);
    this.#finish(request, this.#connection.send(this.#bytes, OUT_HEADER_BYTES));
  }

  entry(request: Request, entry: Entry): void {
    putEntry(this.#words, BODY, entry);
    this.#send(request, ENTRY_OUT_BYTES);
  }

  attributes(request: Request, reply: AttributesReply): void {
    putAttributesReply(this.#words, BODY, reply.attributes, reply.attributeTtlMs);
    this.#send(request, ATTR_OUT_BYTES);
  }

  open(request: Request, reply: OpenReply): void {
    this.#putOpen(BODY, reply, fileFlags(reply));
    this.#send(request, OPEN_OUT_BYTES);
  }

  /** keepCache of a folder lets the kernel keep its listing too. */
  openFolder(request: Request, reply: OpenReply): void {
    this.#putOpen(BODY, reply, reply.keepCache ? OpenReplyFlag.KEEP_CACHE | OpenReplyFlag.CACHE_DIR : 0);
    this.#send(request, OPEN_OUT_BYTES);
  }

  create(request: Request, entry: Entry, open: OpenReply): void {
    putEntry(this.#words, BODY, entry);
    this.#putOpen(BODY + (ENTRY_OUT_BYTES >>> 2), open, fileFlags(open));
    this.#send(request, ENTRY_OUT_BYTES + OPEN_OUT_BYTES);
  }

  /** fuse_write_out and fuse_getxattr_out. */
  size(request: Request, size: Bytes): void {
    this.#words[BODY] = size;
    this.#words[BODY + 1] = 0;
    this.#send(request, 8);
  }

  /** fuse_lseek_out. */
  offset(request: Request, offset: Bytes): void {
    putU64(this.#words, BODY, offset);
    this.#send(request, 8);
  }

  statfs(request: Request, s: StatfsReply): void {
    const words = this.#words;
    words.fill(0, BODY, BODY + (STATFS_OUT_BYTES >>> 2));
    putU64(words, BODY, s.blocks);
    putU64(words, BODY + 2, s.blocksFree);
    putU64(words, BODY + 4, s.blocksAvailable);
    putU64(words, BODY + 6, s.files);
    putU64(words, BODY + 8, s.filesFree);
    words[BODY + 10] = s.blockSize;
    words[BODY + 11] = s.nameMax;
    words[BODY + 12] = s.blockSize;
    this.#send(request, STATFS_OUT_BYTES);
  }

  init(request: Request, negotiated: Negotiated): void {
    putInitReply(this.#words, BODY, negotiated);
    this.#send(request, INIT_OUT_BYTES);
  }

  /** Small data: a link's target, an attribute's value. */
  data(request: Request, data: Uint8Array): void {
    this.#bytes.set(data, OUT_HEADER_BYTES);
    this.#send(request, data.length);
  }

  dirents(request: Request, dirents: DirentBuffer): void {
    this.#header(dirents.words, request, dirents.length, 0);
    this.#finish(request, this.#connection.send(dirents.bytes, dirents.length));
  }

  /** File data. Releases it once, now or when it was written. */
  chunks(request: Request, reply: ReadReply): void {
    const { uniqueLow, uniqueHigh } = request;
    if (reply.lengthBytes < (request.alone ? INLINE_ALONE_BYTES : INLINE_BYTES)) {
      const result = this.#connection.sendChunks(uniqueLow, uniqueHigh, reply.chunks, reply.lengthBytes);
      this.#finish(request, result);
      reply.release();
      return;
    }
    const id = this.#freeIds.pop() ?? this.#writing.length;
    this.#writing[id] = reply;
    const result = this.#connection.queueChunks(uniqueLow, uniqueHigh, reply.chunks, reply.lengthBytes, id);
    if (result !== 0) this.#written(id, 0);
    this.#finish(request, result);
  }

  /** Takes `count` pairs of id and errno from the connection. */
  settleWritten(count: number): void {
    const { written } = this.#connection;
    for (let i = 0; i < count; i++) this.#written(written[2 * i]!, written[2 * i + 1]!);
  }

  /** Once the connection was stopped: its threads hold nothing any more. */
  releaseAll(): void {
    for (const [id, reply] of this.#writing.entries()) if (reply) this.#written(id, 0);
  }

  #written(id: number, errno: number): void {
    if (!HARMLESS.has(-errno)) this.#logger.error({ errno }, "the kernel refused a reply with data");
    const reply = this.#writing[id];
    this.#writing[id] = undefined;
    this.#freeIds.push(id);
    reply?.release();
  }

  #putOpen(w: number, reply: OpenReply, flags: number): void {
    putU64(this.#words, w, reply.handle);
    this.#words[w + 2] = flags;
    this.#words[w + 3] = reply.backingId ?? 0;
  }

  #send(request: Request, bodyBytes: Bytes): void {
    const length = OUT_HEADER_BYTES + bodyBytes;
    this.#header(this.#words, request, length, 0);
    this.#finish(request, this.#connection.send(this.#bytes, length));
  }

  #header(words: Uint32Array, request: Request, length: Bytes, error: number): void {
    words[0] = length;
    words[1] = error;
    words[2] = request.uniqueLow;
    words[3] = request.uniqueHigh;
  }

  #finish(request: Request, result: Result): void {
    request.answered = true;
    if (result === 0 || HARMLESS.has(result)) return;
    this.#logger.error({ opcode: request.opcode, errno: -result }, "the kernel refused a reply");
  }
}

/** The FOPEN_ flags of a reply. */
export function fileFlags(reply: OpenReply): number {
  return (
    (reply.keepCache ? OpenReplyFlag.KEEP_CACHE : 0) |
    (reply.directIo ? OpenReplyFlag.DIRECT_IO : 0) |
    (reply.noFlush ? OpenReplyFlag.NOFLUSH : 0) |
    (reply.backingId === undefined ? 0 : OpenReplyFlag.PASSTHROUGH)
  );
}
