/**
 * Content in files: a plain file under its key's path, or a blob.
 *
 * A plain file may be changed by anyone; size and mtime tell whether it is still the one that was recorded. Blobs are
 * the server's own.
 */
import { constants } from "node:fs";
import { lstat, open, unlink, type FileHandle } from "node:fs/promises";

import type { Bytes } from "../../common/units.ts";
import {
  StaleContent,
  type Content,
  type ContentDescription,
  type ContentWriter,
  type OpenContent,
} from "./content.ts";
import { readChunks } from "./file-bytes.ts";

export class FileContent implements Content {
  readonly path: string;
  readonly sizeBytes: Bytes;
  /** Set for a blob. */
  readonly blobId: string | undefined;
  readonly #mtimeNs: bigint;

  constructor(path: string, sizeBytes: Bytes, mtimeNs: bigint, blobId: string | undefined) {
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.blobId = blobId;
    this.#mtimeNs = mtimeNs;
  }

  /** The same bytes in another place. */
  movedTo(path: string, blobId: string | undefined): FileContent {
    return new FileContent(path, this.sizeBytes, this.#mtimeNs, blobId);
  }

  slice(): undefined {
    return undefined;
  }

  async openFile(): Promise<FileHandle> {
    let file: FileHandle;
    try {
      file = await open(this.path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      throw new StaleContent("The file cannot be opened.", { cause: error });
    }
    if (this.blobId === undefined) {
      const { size, mtimeNs } = await file.stat({ bigint: true });
      if (Number(size) !== this.sizeBytes || mtimeNs !== this.#mtimeNs) {
        await file.close();
        throw new StaleContent("The file was changed.");
      }
    }
    return file;
  }

  async open(): Promise<OpenContent> {
    const file = await this.openFile();
    let isOpen = true;
    return {
      chunks: (offset, length) => readChunks(file, offset, length),
      close: async () => {
        if (!isOpen) return;
        isOpen = false;
        await file.close();
      },
    };
  }

  async isStale(): Promise<boolean> {
    if (this.blobId !== undefined) return false;
    try {
      const { size, mtimeNs } = await lstat(this.path, { bigint: true });
      return Number(size) !== this.sizeBytes || mtimeNs !== this.#mtimeNs;
    } catch {
      return true;
    }
  }

  describe(): ContentDescription {
    const { sizeBytes } = this;
    return this.blobId === undefined
      ? { at: "key", sizeBytes, mtimeNs: String(this.#mtimeNs) }
      : { at: "blob", id: this.blobId, sizeBytes };
  }
}

/** Small writes are gathered: a chunk off the network is 64 KiB at most, and each write is a trip to another thread. */
const GATHER_BYTES = 1 << 20;

/** Writes a blob. */
export class BlobWriter implements ContentWriter {
  readonly #path: string;
  readonly #id: string;
  #file: FileHandle | undefined;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #length = 0;

  constructor(path: string, id: string) {
    this.#path = path;
    this.#id = id;
  }

  write(chunk: Uint8Array): void | Promise<void> {
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes >= GATHER_BYTES) return this.#flush();
  }

  async #flush(): Promise<void> {
    this.#file ??= await open(this.#path, "wx", 0o644);
    const chunks = this.#gathered;
    const bytes = this.#gatheredBytes;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    if (bytes > 0) await writeAll(this.#file, chunks, this.#length, bytes);
    this.#length += bytes;
  }

  async finish(): Promise<FileContent> {
    await this.#flush();
    const file = this.#file!;
    const { mtimeNs } = await file.stat({ bigint: true });
    await file.close();
    return new FileContent(this.#path, this.#length, mtimeNs, this.#id);
  }

  async abort(): Promise<void> {
    if (!this.#file) return;
    await this.#file.close();
    await unlink(this.#path);
  }
}

/** writev may write less than it was given, on a full disk above all. */
async function writeAll(
  file: FileHandle,
  chunks: Uint8Array[],
  position: Bytes,
  bytes: Bytes,
): Promise<void> {
  const { bytesWritten } = await file.writev(chunks, position);
  if (bytesWritten === bytes) return;
  const rest = Buffer.concat(chunks).subarray(bytesWritten);
  let at = 0;
  while (at < rest.length) {
    const { bytesWritten: more } = await file.write(rest, at, rest.length - at, position + bytesWritten + at);
    at += more;
  }
}
