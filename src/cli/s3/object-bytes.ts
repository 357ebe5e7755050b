/** The bytes of one object as they come, for commands that need the beginning of it or an old version. */
import type { Bytes } from "../../common/units.ts";
import type { GetRequest } from "../../store/object-store.ts";
import type { S3Address } from "../../transfer/address.ts";
import type { Connection } from "../../transfer/connection.ts";
import type { Streams } from "../../transfer/streams.ts";

export async function catVersion(
  connection: Connection,
  { bucket, key }: S3Address,
  versionId: string,
  streams: Streams,
  signal: AbortSignal,
): Promise<void> {
  const store = await connection.store(bucket);
  const { body } = await store.getStream({ key, versionId }, { reason: "bulk", signal });
  for await (const chunk of body) await streams.output(chunk);
}

/** Writes the first lines, and asks for no more of the object than they need. */
export async function headLines(
  connection: Connection,
  { bucket, key }: S3Address,
  lines: number,
  streams: Streams,
  signal: AbortSignal,
): Promise<void> {
  if (lines === 0) return;
  const store = await connection.store(bucket);
  const { body } = await store.getStream({ key }, { reason: "bulk", signal });
  let left = lines;
  for await (const chunk of body) {
    const end = endOfLines(chunk, left);
    await streams.output(chunk.subarray(0, end.at));
    left -= end.lines;
    if (left === 0) return;
  }
}

/** Writes the first bytes. */
export async function headBytes(
  connection: Connection,
  { bucket, key }: S3Address,
  length: Bytes,
  streams: Streams,
  signal: AbortSignal,
): Promise<void> {
  const store = await connection.store(bucket);
  const { sizeBytes } = await store.head(key, { reason: "bulk", signal });
  const wanted = Math.min(length, sizeBytes);
  // A range of nothing is no range.
  if (wanted === 0) return;
  const request: GetRequest = { key, offset: 0, length: wanted };
  const { body } = await store.getStream(request, { reason: "bulk", signal });
  for await (const chunk of body) await streams.output(chunk);
}

/** Where so many lines end in a chunk, or its end, and how many lines end before it. Exported for tests. */
export function endOfLines(chunk: Uint8Array, wanted: number): { at: number; lines: number } {
  let at = 0;
  for (let lines = 0; lines < wanted; lines++) {
    const newline = chunk.indexOf(0x0a, at);
    if (newline < 0) return { at: chunk.length, lines };
    at = newline + 1;
  }
  return { at, lines: wanted };
}
