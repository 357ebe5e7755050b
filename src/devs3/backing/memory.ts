/**
 * Memory backing: bytes in buffers, nothing outlives the process.
 *
 * An object or part up to SPILL_BYTES lies in one buffer, so that its GET is one write. What is larger goes to an
 * unlinked temporary file: tests that push gigabytes through the server do not hold them in memory.
 */
import { open, type FileHandle } from "node:fs/promises";
import { unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";

import { MiB, type Bytes } from "../../common/units.ts";
import type { Backing, StateEvent } from "./backing.ts";
import {
  JoinedContent,
  type Content,
  type ContentDescription,
  type ContentWriter,
  type OpenContent,
} from "./content.ts";
import { copyChunks, readChunks } from "./file-bytes.ts";
import { SyntheticContent } from "./synthetic.ts";

const SPILL_BYTES = 64 * MiB;

class BufferContent implements Content {
  readonly sizeBytes: Bytes;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
  }

  slice(offset: Bytes, length: Bytes): Buffer {
    return this.#bytes.subarray(offset, offset + length);
  }

  open(): Promise<OpenContent> {
    const bytes = this.#bytes;
    async function* chunks(offset: Bytes, length: Bytes): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(offset, offset + length);
    }
    return Promise.resolve({ chunks, close: () => Promise.resolve() });
  }

  describe(): ContentDescription | undefined {
    return undefined;
  }
}

/** Bytes in a file without a name, which ends with its handle. Counts who needs it: versions, copies, readers. */
class SpilledContent implements Content {
  readonly sizeBytes: Bytes;
  readonly #file: FileHandle;
  #users = 1;

  constructor(file: FileHandle, sizeBytes: Bytes) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  slice(): undefined {
    return undefined;
  }

  retain(): void {
    this.#users++;
  }

  async release(): Promise<void> {
    if (--this.#users === 0) await this.#file.close();
  }

  open(): Promise<OpenContent> {
    this.retain();
    let isOpen = true;
    return Promise.resolve({
      chunks: (offset: Bytes, length: Bytes) => readChunks(this.#file, offset, length),
      close: async () => {
        if (!isOpen) return;
        isOpen = false;
        await this.release();
      },
    });
  }

  describe(): undefined {
    return undefined;
  }
}

function spilledIn(content: Content): SpilledContent[] {
  if (content instanceof SpilledContent) return [content];
  return content instanceof JoinedContent ? content.pieces.flatMap(spilledIn) : [];
}

class MemoryWriter implements ContentWriter {
  #buffer: Buffer;
  #file: FileHandle | undefined;
  readonly #toFile: boolean;
  #length = 0;

  constructor(sizeBytes: Bytes) {
    this.#toFile = sizeBytes > SPILL_BYTES;
    this.#buffer = Buffer.allocUnsafeSlow(this.#toFile ? 0 : sizeBytes);
  }

  write(chunk: Uint8Array): void | Promise<void> {
    if (this.#toFile) return this.#writeFile(chunk);
    this.#buffer.set(chunk, this.#length);
    this.#length += chunk.length;
  }

  async #writeFile(chunk: Uint8Array): Promise<void> {
    this.#file ??= await openNameless();
    await this.#file.write(chunk, 0, chunk.length, this.#length);
    this.#length += chunk.length;
  }

  finish(): Promise<Content> {
    if (!this.#file) return Promise.resolve(new BufferContent(this.#buffer.subarray(0, this.#length)));
    return Promise.resolve(new SpilledContent(this.#file, this.#length));
  }

  async abort(): Promise<void> {
    this.#buffer = Buffer.alloc(0);
    await this.#file?.close();
  }
}

async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `hawser-dev-s3-${randomUUID()}`);
  const file = await open(path, "wx+", 0o600);
  unlinkSync(path);
  return file;
}

export class MemoryBacking implements Backing {
  async *load(): AsyncGenerator<StateEvent> {}

  compact(): Promise<void> {
    return Promise.resolve();
  }

  writer(sizeBytes: Bytes): ContentWriter {
    return new MemoryWriter(sizeBytes);
  }

  place(_bucket: string, _key: string, content: Content): Promise<Content> {
    return Promise.resolve(content);
  }

  setAside(_bucket: string, _key: string, content: Content): Promise<Content> {
    return Promise.resolve(content);
  }

  async copy(source: Content, offset: Bytes, length: Bytes): Promise<Content> {
    // Content never changes, so a copy of all of it, or of one buffer's range, is the same bytes.
    if (offset === 0 && length === source.sizeBytes) {
      for (const spilled of spilledIn(source)) spilled.retain();
      return source;
    }
    if (source instanceof SyntheticContent) return source.range(offset, length);
    if (source instanceof BufferContent) return new BufferContent(source.slice(offset, length));
    const writer = this.writer(length);
    try {
      await copyChunks(source, offset, length, writer);
      return await writer.finish();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  join(parts: readonly Content[]): Promise<Content> {
    return Promise.resolve(parts.length === 1 ? parts[0]! : new JoinedContent(parts));
  }

  async discard(_bucket: string, _key: string, content: Content): Promise<void> {
    for (const spilled of spilledIn(content)) await spilled.release();
  }

  adopt(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  record(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
