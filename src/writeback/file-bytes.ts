/**
 * FileBytes: a staged file as what `publish` sends, and checksums to find what has changed since it was sent.
 *
 * Parts of a sealed file are read by whoever sends them. All else is read once, into memory, and sent from there: what
 * is open changes, and a whole object that is under way must stay what it was when its file is opened again. Only a part
 * that is too large for memory is streamed.
 * A file that is still open may change while it is sent, and a mapping's stores do not even change its mtime: so what
 * was sent of an open file is known by its checksums alone.
 */
import { checksumsOf } from "../cache/cache-file.ts";
import { crc64nvme } from "../common/checksum.ts";
import { HawserError } from "../common/errors.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { PutBody } from "../store/object-store.ts";
import type { BodyBuffers } from "./body-buffers.ts";
import type { ByteRange } from "./part-plan.ts";
import type { PublishedContent } from "./publish.ts";
import type { ContentSums, JournaledPart } from "./records.ts";

/** Bodies up to this size are read into memory. */
const MEMORY_BODY: Bytes = 32 * MiB;
const CHUNK: Bytes = MiB;
/** Checksummed here, without another thread: a tenth of a millisecond. */
const SMALL_BODY: Bytes = MiB;

/** What is read: the staged file, or a copy of it. */
export interface ByteSource {
  /** @returns bytes placed; fewer only at the end */
  read(target: Uint8Array, offset: Bytes): Promise<Bytes>;
  prepare(ranges: readonly ByteRange[]): Promise<void>;
  /** Lends a descriptor of the file; absent where bytes have to be read from here. */
  reading?: (<T>(use: (fd: number) => Promise<T>) => Promise<T>) | undefined;
}

export interface FileBytesOptions {
  sizeBytes: Bytes;
  /** Tell the checksums of what is sent. */
  sums: boolean;
  buffers: BodyBuffers;
  /** Named when it is too short. */
  name: string;
}

export class FileBytes implements PublishedContent {
  readonly sizeBytes: Bytes;
  /** CRC32C of each of the cache's blocks, where a small file was sent as a whole. */
  blockSums: Uint32Array | undefined;
  readonly #source: ByteSource;
  readonly #options: FileBytesOptions;

  constructor(source: ByteSource, options: FileBytesOptions) {
    this.#source = source;
    this.#options = options;
    this.sizeBytes = options.sizeBytes;
  }

  async prepare(ranges: readonly ByteRange[]): Promise<void> {
    await this.#source.prepare(ranges);
  }

  async use<T>(
    range: ByteRange,
    send: (body: PutBody, sum: () => string | undefined) => Promise<T>,
  ): Promise<T> {
    const sizeBytes = range.end - range.start;
    const isPart = sizeBytes < this.sizeBytes;
    if (isPart && !this.#options.sums && this.#source.reading) {
      const offset = range.start;
      return await this.#source.reading((fd) => send({ file: { fd }, offset, sizeBytes }, () => undefined));
    }
    if (sizeBytes > MEMORY_BODY) return await this.#stream(range, send);
    return await this.#options.buffers.use(sizeBytes, async (bytes) => {
      await readWhole(this.#source, bytes, range.start, this.#options.name);
      const summing = new Summing(() => {
        // Who adopts the file need not read it again.
        if (!isPart && sizeBytes <= SMALL_BODY) this.blockSums = checksumsOf(bytes);
        return this.#options.sums ? hex(crc64nvme(bytes)) : undefined;
      });
      // Somebody waits for what is live: it is on its way first. All else is summed while it is in the core's cache.
      if (this.#options.sums) summing.soon();
      else summing.sum();
      try {
        return await send(bytes, () => summing.sum());
      } finally {
        // Its memory is given back.
        summing.sum();
      }
    });
  }

  async #stream<T>(
    range: ByteRange,
    send: (body: PutBody, sum: () => string | undefined) => Promise<T>,
  ): Promise<T> {
    const { sums, name } = this.#options;
    const source = this.#source;
    let sum: string | undefined;
    const body: PutBody = {
      sizeBytes: range.end - range.start,
      async *open() {
        let crc = 0n;
        for await (const chunk of chunksOf(source, range, name)) {
          if (sums) crc = crc64nvme(chunk, crc);
          yield chunk;
        }
        sum = hex(crc);
      },
    };
    return await send(body, () => (sums ? sum : undefined));
  }
}

/** A checksum that is taken once: when it is asked for, or before, behind what has to be done now. */
class Summing {
  readonly #take: () => string | undefined;
  #taken = false;
  #sum: string | undefined;

  constructor(take: () => string | undefined) {
    this.#take = take;
  }

  sum(): string | undefined {
    if (this.#taken) return this.#sum;
    this.#taken = true;
    this.#sum = this.#take();
    return this.#sum;
  }

  /** What is handed to another thread in this turn of the event loop leaves before. */
  soon(): void {
    setImmediate(() => setImmediate(() => this.sum()));
  }
}

/** Where checksums are taken: of what, and in whose memory. */
export interface SumSource {
  readonly source: ByteSource;
  readonly buffers: BodyBuffers;
}

/** Ranges of the file that are what was sent, in order; whole parts only. */
export async function unchangedSince(
  from: SumSource,
  sizeBytes: Bytes,
  sent: ContentSums,
  signal?: AbortSignal,
): Promise<ByteRange[]> {
  const same: ByteRange[] = [];
  for (const [at, sum] of sent.sums.entries()) {
    signal?.throwIfAborted();
    const start = at * sent.partBytes;
    const end = Math.min(start + sent.partBytes, sent.size);
    if (end > sizeBytes) break;
    if ((await sumOf(from, { start, end })) === sum) same.push({ start, end });
  }
  return same;
}

/** The parts of a multipart that still are what the file holds. */
export async function stillSame(
  from: SumSource,
  sizeBytes: Bytes,
  partBytes: Bytes,
  parts: readonly JournaledPart[],
  signal?: AbortSignal,
): Promise<JournaledPart[]> {
  const same: JournaledPart[] = [];
  for (const part of parts) {
    signal?.throwIfAborted();
    const start = (part.partNumber - 1) * partBytes;
    const end = start + (part.sizeBytes ?? partBytes);
    if (part.sum === undefined || end > sizeBytes) continue;
    if ((await sumOf(from, { start, end })) === part.sum) same.push(part);
  }
  return same;
}

/** The checksum of a range, as it is told of what is sent; undefined when the file is shorter. */
async function sumOf({ source, buffers }: SumSource, range: ByteRange): Promise<string | undefined> {
  return await buffers.use(Math.min(CHUNK, range.end - range.start), async (chunk) => {
    let crc = 0n;
    for (let at = range.start; at < range.end; at += CHUNK) {
      const piece = chunk.subarray(0, range.end - at);
      if ((await source.read(piece, at)) < piece.length) return undefined;
      crc = crc64nvme(piece, crc);
    }
    return hex(crc);
  });
}

async function* chunksOf(source: ByteSource, range: ByteRange, name: string): AsyncGenerator<Uint8Array> {
  for (let at = range.start; at < range.end; at += CHUNK) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, range.end - at));
    await readWhole(source, chunk, at, name);
    yield chunk;
  }
}

async function readWhole(source: ByteSource, target: Uint8Array, offset: Bytes, name: string): Promise<void> {
  if (target.length === 0) return;
  const placed = await source.read(target, offset);
  if (placed === target.length) return;
  throw new HawserError("io_error", `The staging file of ${name} became shorter while it was sent.`);
}

function hex(crc: bigint): string {
  return crc.toString(16).padStart(16, "0");
}
