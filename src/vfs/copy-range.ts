/** copy_file_range between files of a volume: through memory, since the two may lie in different places. */
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { Caller } from "./filesystem.ts";
import type { WritableFiles, WritableHandle } from "./writable-files.ts";

/** What one call copies at most: the caller goes on from there, and others get their turn. */
const COPY_BYTES: Bytes = 8 * MiB;

interface Place {
  readonly file: WritableHandle;
  readonly offset: Bytes;
}

/** @returns how much was copied; less than `length` at the end of the file, or where it is much */
export async function copyRange(
  files: WritableFiles,
  from: Place,
  to: Place,
  length: Bytes,
  caller: Caller,
): Promise<Bytes> {
  let copied = 0;
  while (copied < Math.min(length, COPY_BYTES)) {
    const wanted = Math.min(MiB, length - copied);
    const reply = await files.read(from.file, from.offset + copied, wanted, caller);
    try {
      if (reply.lengthBytes === 0) break;
      copied += await files.write(to.file, to.offset + copied, Buffer.concat(reply.chunks));
    } finally {
      reply.release();
    }
  }
  return copied;
}
