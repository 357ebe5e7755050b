/**
 * Upload bodies as the SDK takes them: what goes out and its checksum, whether it lies in memory or is opened anew.
 *
 * A body that is a stream or a file is opened once for its checksum (unless the caller knows it) and once for every
 * attempt.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { HawserError } from "../common/errors.ts";
import { crc32c, crc32cBase64 } from "../common/checksum.ts";
import type { PutBody } from "./object-store.ts";
import { sourceError, streamOf, wrongLength } from "./put-body.ts";
import { ATTEMPT_LIMITS } from "./retry.ts";
import { sharedMemoryOf } from "./shared-body.ts";
import type { Attempt } from "./watched-attempt.ts";

/** base64. */
export async function crc32cOf(body: PutBody): Promise<string> {
  if (body instanceof Uint8Array) return crc32cBase64(crc32c(body));
  if (body.crc32c !== undefined) return body.crc32c;
  let crc = 0;
  for await (const chunk of checkedLength(body)) crc = crc32c(chunk, crc);
  return crc32cBase64(crc);
}

/** Hex. For plain HTTP, where the signature must cover the payload. */
export async function sha256Of(body: PutBody): Promise<string> {
  const hash = createHash("sha256");
  if (body instanceof Uint8Array) return hash.update(body).digest("hex");
  for await (const chunk of checkedLength(body)) hash.update(chunk);
  return hash.digest("hex");
}

export interface OutgoingBody {
  body: Uint8Array | Readable;
  /** What went wrong in the caller's stream. */
  sourceError(): HawserError | undefined;
  /** Closes what is still open of the source: an answer may come before all of it was sent. */
  close(): void;
}

/** A body for one attempt. Every piece of a stream is a sign of life. */
export function openBody(body: PutBody, attempt: Attempt): OutgoingBody {
  if (body instanceof Uint8Array) {
    // One write for all of it: allow for a slow line, 100 KB a second.
    attempt.alive(ATTEMPT_LIMITS.upload + body.length / 100);
    // Streams on the way do not take shared memory.
    return {
      body: sharedMemoryOf(body) ? Buffer.from(body) : body,
      sourceError: () => undefined,
      close: () => undefined,
    };
  }
  let failed: HawserError | undefined;
  const source = checkedLength(body, () => attempt.alive(ATTEMPT_LIMITS.upload));
  const stream = Readable.from(source, { objectMode: false, highWaterMark: 256 * 1024 });
  stream.on("error", (error) => {
    if (attempt.signal.aborted) return;
    failed = sourceError(error);
    attempt.abort();
  });
  attempt.signal.addEventListener("abort", () => stream.destroy(), { once: true });
  return { body: stream, sourceError: () => failed, close: () => void stream.destroy() };
}

async function* checkedLength(
  body: Exclude<PutBody, Uint8Array>,
  onPiece: () => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  try {
    for await (const chunk of streamOf(body).open()) {
      length += chunk.length;
      if (length > body.sizeBytes) throw wrongLength(body.sizeBytes, `more than ${body.sizeBytes}`);
      onPiece();
      yield chunk;
    }
  } catch (error) {
    throw sourceError(error);
  }
  if (length !== body.sizeBytes) throw wrongLength(body.sizeBytes, String(length));
}
