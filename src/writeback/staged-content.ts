/**
 * StagedContent: reading and changing the bytes of a staged file, whole or an overlay.
 *
 * Of an overlay only written ranges are local; a read takes the rest from the base version, a write fetches nothing. A
 * range counts as local when the journal says so: the bytes are in the file before the record, and the record is in the
 * log before the writer is answered. Bytes that are fetched for an upload never overwrite what was written meanwhile:
 * writes and fetches of an overlay take turns.
 */
import { HawserError } from "../common/errors.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { Context } from "./context.ts";
import type { FileEntry } from "./file-entry.ts";
import type { LocalFile } from "./local-file.ts";
import type { ByteRange } from "./part-plan.ts";
import type { FileRecord, RangePair } from "./records.ts";

const FETCH_CHUNK: Bytes = 4 * MiB;

const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;
const FALLOC_ZERO_RANGE = 16;

export class StagedContent {
  readonly #context: Context;
  readonly #entry: FileEntry;
  readonly #local: LocalFile;
  /** The last of an overlay's writes and fetches. */
  #turn: Promise<unknown> = Promise.resolve();
  /** False once the file is given up: then nothing of it is journaled. */
  journaled = true;

  constructor(context: Context, entry: FileEntry, local: LocalFile) {
    this.#context = context;
    this.#entry = entry;
    this.#local = local;
  }

  get isLocal(): boolean {
    return this.#entry.missing.isEmpty;
  }

  /** Fills the target from `offset` on. @returns bytes placed; fewer only at the file's end */
  async read(target: Uint8Array, offset: Bytes): Promise<Bytes> {
    const placed = await this.#local.read(target, offset);
    const { overlay, missing } = this.#entry;
    if (!overlay || missing.isEmpty) return placed;
    for (const { start, end } of missing.within(offset, offset + placed)) {
      await this.#readBase(start, target.subarray(start - offset, end - offset));
    }
    return placed;
  }

  async write(source: Uint8Array, offset: Bytes): Promise<void> {
    await this.#changed([offset, offset + source.length], () => this.#local.write(source, offset));
  }

  /** @param before done while nothing is fetched */
  async truncate(sizeBytes: Bytes, before?: () => Promise<void>): Promise<void> {
    await this.#changed([sizeBytes, Number.MAX_SAFE_INTEGER], async () => {
      await before?.();
      await this.#local.truncate(sizeBytes);
    });
  }

  /** What is fetched meanwhile would change size or time of the local file for a moment. */
  async whileQuiet<T>(work: () => T): Promise<T> {
    return this.#entry.overlay ? await this.#inTurn(async () => work()) : work();
  }

  /** @throws `not_supported` for modes that move bytes */
  async allocate(mode: number, offset: Bytes, length: Bytes): Promise<void> {
    const kind = mode & ~FALLOC_KEEP_SIZE;
    if (kind !== 0 && kind !== FALLOC_PUNCH_HOLE && kind !== FALLOC_ZERO_RANGE) {
      throw new HawserError("not_supported", `fallocate mode ${mode} is not supported.`);
    }
    const allocate = (): Promise<void> => this.#local.allocate(mode, offset, length);
    // Room is made without changing what is read, and where the file grows there is nothing of the base.
    if (kind === 0) await allocate();
    else await this.#changed([offset, offset + length], allocate);
  }

  /** @throws `beyond_end` */
  seek(offset: Bytes, whence: "data" | "hole"): Bytes {
    const { missing } = this.#entry;
    const { size } = this.#local.stamp();
    if (offset >= size) throw beyondEnd(offset);
    if (whence === "data") {
      const local = this.#local.nextData(offset);
      const [next] = missing.within(offset, size);
      const found = Math.min(local < 0 ? size : local, next?.start ?? size);
      if (found >= size) throw beyondEnd(offset);
      return found;
    }
    for (let at = offset; at < size;) {
      const hole = this.#local.nextHole(at);
      const [next] = missing.within(hole, hole + 1);
      if (!next) return hole;
      at = missing.within(hole, size)[0]!.end;
    }
    return size;
  }

  /** Makes ranges local. What was written meanwhile stays. */
  async fetch(ranges: readonly ByteRange[]): Promise<void> {
    for (const { start, end } of ranges) {
      for (const gap of this.#entry.missing.within(start, end)) {
        for (let at = gap.start; at < gap.end; at += FETCH_CHUNK) {
          await this.#fetchChunk({ start: at, end: Math.min(at + FETCH_CHUNK, gap.end) });
        }
      }
    }
    await this.#local.closeWriter();
  }

  async #fetchChunk({ start, end }: ByteRange): Promise<void> {
    const { buffers } = this.#context;
    await buffers.use(end - start, async (bytes) => {
      await this.#readBase(start, bytes);
      await this.#inTurn(async () => {
        const still = this.#entry.missing.within(start, end);
        if (still.length === 0) return;
        const { mtime } = this.#local.stamp();
        for (const gap of still) {
          await this.#local.write(bytes.subarray(gap.start - start, gap.end - start), gap.start);
        }
        // What was fetched was not changed.
        await this.#local.setMtime(mtime);
        this.#journal({
          t: "fetched",
          id: this.#entry.id,
          ranges: still.map((gap) => [gap.start, gap.end]),
        });
      });
    });
  }

  async #readBase(start: Bytes, target: Uint8Array): Promise<void> {
    const { readBase, moves } = this.#context;
    let done = 0;
    while (done < target.length) {
      const overlay = this.#entry.overlay!;
      try {
        const count = await readBase(moves.sourceOf(overlay), start + done, target.subarray(done));
        if (count === 0) throw new HawserError("io_error", `${overlay.key} ends before its size.`);
        done += count;
      } catch (error) {
        // Moved meanwhile: the bytes are elsewhere now.
        const isMoved = this.#entry.overlay !== overlay;
        if (!isMoved || !HawserError.is(error, "stale", "not_found", "object_changed")) throw error;
      }
    }
  }

  /** Carries out a change, then notes that the range is not the base's any more. */
  async #changed([start, end]: RangePair, change: () => Promise<void>): Promise<void> {
    const { overlay, unchanged, missing, id } = this.#entry;
    if (!overlay) {
      await change();
      return;
    }
    await this.#inTurn(async () => {
      await change();
      if (!unchanged.touches(start, end) && !missing.touches(start, end)) return;
      this.#journal({ t: "local", id, ranges: [[start, end]] });
      if (this.journaled) await this.#context.journal.flush();
    });
  }

  /** Brings the bytes to the disk, and notes it: what is fetched meanwhile would be taken for synced. */
  async sync(note: () => void): Promise<void> {
    const sync = async (): Promise<void> => {
      await this.#local.sync();
      note();
    };
    if (this.#entry.overlay) await this.#inTurn(sync);
    else await sync();
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const mine = (async () => {
      await before.catch(() => undefined);
      return await work();
    })();
    this.#turn = mine.catch(() => undefined);
    return await mine;
  }

  #journal(record: FileRecord): void {
    if (this.journaled) this.#context.journal.add(record);
    else this.#entry.apply(record);
  }
}

function beyondEnd(offset: Bytes): HawserError {
  return new HawserError("beyond_end", `There is nothing at or after offset ${offset}.`);
}
