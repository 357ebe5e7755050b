/**
 * Reading local files for upload: at once when they are in memory, in the background when they are on a disk.
 *
 * What is uploaded was usually written a moment ago and lies in the page cache. There a read on this thread costs its
 * copy, and handing it to another thread costs two to ten times as much again. The addon knows whether it lies there.
 * Without it, a read that takes long says that the disk was asked: then those that follow go to the thread pool for a
 * while, where several can wait at once.
 */
import * as fs from "node:fs";
import { tryNative } from "../../common/native.ts";
import type { Bytes, Milliseconds } from "../../common/units.ts";
import { sourceError } from "../put-body.ts";

/** Longer than copying a piece takes, shorter than a disk's answer to a few of them. */
const SLOW_MS: Milliseconds = 1;
/** Reads in the background before the next try on this thread. */
const BACKGROUND_READS = 64;

export class LocalFiles {
  readonly #now: () => Milliseconds;
  #background = 0;

  constructor(now: () => Milliseconds) {
    this.#now = now;
  }

  /** @throws HawserError `io_error` */
  open(path: string): number | Promise<number> {
    if (this.#background > 0) return openInBackground(path);
    return this.#timed(() => fs.openSync(path, "r"));
  }

  /** @returns how many bytes; 0 at the end of the file. @throws HawserError `io_error` */
  read(fd: number, buffer: Buffer, start: number, length: Bytes, position: Bytes): number | Promise<number> {
    const addon = tryNative();
    if (addon) {
      const count = cached(() => addon.readCached(fd, buffer, start, length, position));
      return count >= 0 ? count : readInBackground(fd, buffer, start, length, position);
    }
    if (this.#background > 0) {
      this.#background--;
      return readInBackground(fd, buffer, start, length, position);
    }
    return this.#timed(() => fs.readSync(fd, buffer, start, length, position));
  }

  /** Read-only: there is nothing to be told. */
  close(fd: number): void {
    if (this.#background > 0) fs.close(fd, () => undefined);
    else fs.closeSync(fd);
  }

  #timed(call: () => number): number {
    const started = this.#now();
    try {
      return call();
    } catch (error) {
      throw sourceError(error);
    } finally {
      if (this.#now() - started > SLOW_MS) this.#background = BACKGROUND_READS;
    }
  }
}

function cached(read: () => number): number {
  try {
    return read();
  } catch (error) {
    throw sourceError(error);
  }
}

function openInBackground(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, "r", (error, fd) => {
      if (error) reject(sourceError(error));
      else resolve(fd);
    });
  });
}

function readInBackground(
  fd: number,
  buffer: Buffer,
  start: number,
  length: Bytes,
  position: Bytes,
): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, buffer, start, length, position, (error, count) => {
      if (error) reject(sourceError(error));
      else resolve(count);
    });
  });
}
