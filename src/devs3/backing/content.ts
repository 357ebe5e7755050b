/**
 * Content: an object's bytes, wherever they are.
 *
 * A content is immutable once made. It is opened before the response's head goes out, so that bytes which are no longer
 * there become a status and not a cut connection; an open content keeps its bytes readable until closed, whatever
 * happens to the object meanwhile.
 */
import type { Bytes } from "../../common/units.ts";

export interface Content {
  readonly sizeBytes: Bytes;
  /** The bytes at once where they lie in memory in one piece; undefined means: open it. */
  slice(offset: Bytes, length: Bytes): Buffer | undefined;
  /** @throws StaleContent when the bytes were replaced from outside */
  open(): Promise<OpenContent>;
  /** True when what `open` would give is no longer there. Absent where that cannot happen. */
  isStale?(): Promise<boolean>;
  /** How the journal names it; undefined for what does not outlive the process. */
  describe(): ContentDescription | undefined;
}

/** How a content is written down. */
export type ContentDescription =
  | { at: "key"; sizeBytes: Bytes; mtimeNs: string }
  | { at: "blob"; id: string; sizeBytes: Bytes }
  | { at: "synthetic"; sizeBytes: Bytes; seed: number; offset: Bytes }
  | { at: "nowhere" };

export interface OpenContent {
  chunks(offset: Bytes, length: Bytes): AsyncIterable<Uint8Array>;
  /** May be called twice. */
  close(): Promise<void>;
}

/** Receives an upload's bytes. Exactly one of finish and abort ends it. */
export interface ContentWriter {
  write(chunk: Uint8Array): void | Promise<void>;
  finish(): Promise<Content>;
  abort(): Promise<void>;
}

/** The file behind a content is not the one that was recorded. */
export class StaleContent extends Error {
  override readonly name = "StaleContent";
}

const nothing = Buffer.alloc(0);

/** No bytes: delete markers and empty blobs. */
export const emptyContent: Content = {
  sizeBytes: 0,
  slice: () => nothing,
  open: () => Promise.resolve({ chunks: () => asyncChunks([]), close: () => Promise.resolve() }),
  describe: () => ({ at: "nowhere" }),
};

export async function* asyncChunks(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** Several contents one after the other: a multipart object in memory. */
export class JoinedContent implements Content {
  readonly sizeBytes: Bytes;
  readonly #pieces: readonly Content[];

  constructor(pieces: readonly Content[]) {
    this.#pieces = pieces;
    this.sizeBytes = pieces.reduce((sum, piece) => sum + piece.sizeBytes, 0);
  }

  slice(offset: Bytes, length: Bytes): Buffer | undefined {
    let start = 0;
    for (const piece of this.#pieces) {
      const within = offset - start;
      if (within < piece.sizeBytes) {
        return within + length <= piece.sizeBytes ? piece.slice(within, length) : undefined;
      }
      start += piece.sizeBytes;
    }
    return length === 0 ? nothing : undefined;
  }

  open(): Promise<OpenContent> {
    const pieces = this.#pieces;
    const opened = new Set<OpenContent>();
    async function* chunks(offset: Bytes, length: Bytes): AsyncGenerator<Uint8Array> {
      let start = 0;
      const end = offset + length;
      for (const piece of pieces) {
        const from = Math.max(offset, start);
        const to = Math.min(end, start + piece.sizeBytes);
        if (from < to) {
          const open = await piece.open();
          opened.add(open);
          yield* open.chunks(from - start, to - from);
          opened.delete(open);
          await open.close();
        }
        start += piece.sizeBytes;
      }
    }
    return Promise.resolve({
      chunks,
      close: async () => {
        for (const open of opened) await open.close();
        opened.clear();
      },
    });
  }

  describe(): undefined {
    return undefined;
  }

  get pieces(): readonly Content[] {
    return this.#pieces;
  }
}
