/**
 * The forms of a body to send, and what can be wrong with its source.
 *
 * What a source throws, or a length other than announced, is the caller's error and not the store's: it ends the call.
 */
import { open } from "node:fs/promises";
import * as fs from "node:fs";
import { promisify } from "node:util";
import { HawserError } from "../common/errors.ts";
import { KiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { FileBody, PutBody, StreamBody } from "./object-store.ts";

const READ_BYTES: Bytes = 256 * KiB;

const read = promisify(fs.read);

export function sizeOf(body: PutBody): Bytes {
  return body instanceof Uint8Array ? body.length : body.sizeBytes;
}

export function isStream(body: PutBody): body is StreamBody {
  return !(body instanceof Uint8Array) && "open" in body;
}

/** A file's range as a body that can be opened again and again. */
export function streamOf(body: FileBody | StreamBody): StreamBody {
  if (isStream(body)) return body;
  return {
    sizeBytes: body.sizeBytes,
    open: () => readRange(body),
    ...(body.crc32c === undefined ? {} : { crc32c: body.crc32c }),
  };
}

async function* readRange({ file, offset, sizeBytes }: FileBody): AsyncGenerator<Uint8Array> {
  const handle = "path" in file ? await open(file.path, "r") : undefined;
  const fd = "path" in file ? handle!.fd : file.fd;
  try {
    for (let at = 0; at < sizeBytes;) {
      const block = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, sizeBytes - at));
      const { bytesRead } = await read(fd, block, 0, block.length, offset + at);
      // Its length tells whoever counts.
      if (bytesRead === 0) return;
      at += bytesRead;
      yield block.subarray(0, bytesRead);
    }
  } finally {
    await handle?.close();
  }
}

/** @throws HawserError `invalid_argument` */
export function checkFileBody({ file, offset, sizeBytes }: FileBody): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(sizeBytes);
  if (!whole || offset < 0 || sizeBytes < 0) {
    const name = "path" in file ? file.path : `descriptor ${file.fd}`;
    throw new HawserError("invalid_argument", `${name} has no ${sizeBytes} bytes at ${offset}.`);
  }
}

export function sourceError(error: unknown): HawserError {
  if (error instanceof HawserError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new HawserError("io_error", `Reading what was to be uploaded failed: ${message}.`, { cause: error });
}

export function wrongLength(announced: Bytes, found: string): HawserError {
  return new HawserError(
    "invalid_argument",
    `What was to be uploaded has ${found} bytes where ${announced} were announced; it changed meanwhile.`,
  );
}
