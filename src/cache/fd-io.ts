/** Reads of whole ranges by descriptor, straight into shared memory. */
import { close, open, read } from "node:fs";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";

export function openFile(path: string, flags: string | number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, 0o600, (error, fd) => (error ? reject(error) : resolve(fd)));
  });
}

export function closeFile(fd: number): Promise<void> {
  return new Promise((resolve) => close(fd, () => resolve()));
}

/** Fills `target` from `position` on. @throws HawserError `io_error` when the file ends before */
export async function readFully(fd: number, target: Uint8Array, position: Bytes): Promise<void> {
  let done = await readSome(fd, target, 0, position);
  while (done < target.length) {
    const more = await readSome(fd, target, done, position);
    if (more === 0) throw new HawserError("io_error", "A cache file is shorter than its index says.");
    done += more;
  }
}

function readSome(fd: number, target: Uint8Array, from: Bytes, position: Bytes): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    read(fd, target, from, target.length - from, position + from, (error, bytes) => {
      if (error) reject(error);
      else resolve(bytes);
    });
  });
}

export function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
