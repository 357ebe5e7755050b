/**
 * EarlyUpload: sends parts of a very large file while it is still being written.
 *
 * Large files are mostly written from front to back: what lies well before the end has probably been written for good.
 * Each part's checksum is kept, and at the seal the file is read once more: parts that differ are sent again. So a wrong
 * guess costs bandwidth, never truth.
 */
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { Context } from "./context.ts";
import { FileBytes } from "./file-bytes.ts";
import { beginMultipart } from "./multipart-begin.ts";
import { metaWithTime } from "./object-meta.ts";
import { partBytesFor } from "./part-plan.ts";
import type { LocalStaged } from "./staged-file.ts";
import { UPLOAD_ID_METADATA } from "./verdict.ts";

/** The final size is not known: parts are chosen so that the file may grow so many times. */
const GROWTH = 64;
/** Parts behind the end that are left alone. */
const MARGIN_PARTS = 2;
/** Parts at once: the file is not closed yet, others are. */
const AT_ONCE = 4;

/** The numbers of parts that are worth sending now. */
export function earlyParts(sizeBytes: Bytes, partBytes: Bytes, isSent: (part: number) => boolean): number[] {
  const wanted: number[] = [];
  const last = Math.floor(sizeBytes / partBytes) - MARGIN_PARTS;
  for (let part = 1; part <= last; part++) if (!isSent(part)) wanted.push(part);
  return wanted;
}

export class EarlyUpload {
  readonly #context: Context;
  readonly #file: LocalStaged;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(context: Context, file: LocalStaged) {
    this.#context = context;
    this.#file = file;
  }

  /** Sends what has become worth it; called every now and then. Failures wait for the next call. */
  kick(): void {
    if (this.#stop.signal.aborted) return;
    this.#running ??= this.#run()
      .catch((error: unknown) => {
        if (this.#isOver) return;
        this.#context.logger.debug({ err: error, key: this.#file.key }, "an early part could not be sent");
      })
      .finally(() => (this.#running = undefined));
  }

  /** Resolves when nothing is under way any more. May be called twice. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#file.early = undefined;
    await this.#running;
  }

  get #isOver(): boolean {
    return this.#stop.signal.aborted || this.#context.closing.aborted || this.#file.isGone;
  }

  async #run(): Promise<void> {
    const { entry } = this.#file;
    const sizeBytes = this.#file.measure();
    if (entry.multipart && entry.multipart.key !== entry.key) return;
    if (!entry.multipart) await this.#begin(sizeBytes);
    const { multipart } = entry;
    if (!multipart || this.#isOver) return;
    const parts = earlyParts(sizeBytes, multipart.partBytes, (part) => multipart.parts.has(part));
    const lane = async (): Promise<void> => {
      for (let part = parts.shift(); part !== undefined && !this.#isOver; part = parts.shift()) {
        await this.#send(multipart.mp, multipart.key, part, multipart.partBytes);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
  }

  async #begin(sizeBytes: Bytes): Promise<void> {
    const { store, journal, options, closing: signal } = this.#context;
    const file = this.#file;
    const { id, entry } = file;
    const { key, base, meta } = entry;
    const n = entry.n + 1;
    const partBytes = Math.ceil(partBytesFor(sizeBytes * GROWTH, options.partBytes) / MiB) * MiB;
    // The number is taken: what is sealed meanwhile is another content.
    file.journal({ t: "turn", id, n });
    const { mtime } = file.local.stamp();
    const request = {
      ...options.put,
      contentType: meta.contentType,
      headers: meta.headers,
      metadata: { ...metaWithTime(meta, mtime).metadata, [UPLOAD_ID_METADATA]: entry.uploadId(n) },
      reason: "flush",
      signal,
    } as const;
    await beginMultipart(this.#context, {
      id,
      n,
      key,
      create: () => store.createMultipart(key, request),
      note(mp) {
        if (file.isGone || file.key !== key) journal.add({ t: "orphan", mp, key });
        else file.journal({ t: "multipart", id, n, key, mp, partBytes, base, mtime, meta });
      },
    });
  }

  async #send(mp: string, key: string, partNumber: number, partBytes: Bytes): Promise<void> {
    const { store, slots, buffers } = this.#context;
    const { id, local } = this.#file;
    const range = { start: (partNumber - 1) * partBytes, end: partNumber * partBytes };
    const source = {
      read: (target: Uint8Array, offset: Bytes) => local.read(target, offset),
      prepare: async () => undefined,
    };
    const bytes = new FileBytes(source, { sizeBytes: range.end, sums: true, buffers, name: key });
    const { signal } = this.#stop;
    await slots.run(id, () =>
      bytes.use(range, async (body, sum) => {
        signal.throwIfAborted();
        const sent = await store.uploadPart(key, mp, partNumber, body, { reason: "flush", signal });
        this.#file.journal({ t: "part", id, mp, ...sent, sizeBytes: partBytes, sum: sum() });
        this.#file.sentBytes += partBytes;
        this.#context.fault("part.sent");
      }),
    );
  }
}
