/** Bytes in and out of files and contents, in pieces that keep memory flat and disks busy. */
import type { FileHandle } from "node:fs/promises";

import { KiB, type Bytes } from "../../common/units.ts";
import { StaleContent, type Content, type ContentWriter } from "./content.ts";

const READ_BYTES = 512 * KiB;

/** Reads a range. A file that ends early was changed by someone else. */
export async function* readChunks(
  file: FileHandle,
  offset: Bytes,
  length: Bytes,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  while (at < length) {
    // A fresh buffer each time: the socket keeps the last one until the kernel took it.
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, length - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset + at);
    if (bytesRead === 0) throw new StaleContent("The file is shorter than it was.");
    yield bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** Copies a range of a content into a writer, which the caller ends. */
export async function copyChunks(
  source: Content,
  offset: Bytes,
  length: Bytes,
  writer: Pick<ContentWriter, "write">,
): Promise<void> {
  const opened = await source.open();
  try {
    for await (const chunk of opened.chunks(offset, length)) await writer.write(chunk);
  } finally {
    await opened.close();
  }
}
