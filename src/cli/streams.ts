/** Standard input and output as the ends of a copy. */
import { HawserError } from "../common/errors.ts";
import type { Streams } from "../transfer/streams.ts";

export function processStreams(): Streams {
  return { input: process.stdin, output: writeOut };
}

/** Resolves when the bytes were taken: they lie in memory that is used again. */
function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error) reject(new HawserError("io_error", `Standard output: ${error.message}.`, { cause: error }));
      else resolve();
    });
  });
}
