/** Positioned reads and writes of a descriptor, whole. Callbacks, not FileHandles: a small file costs few of these. */
import { close, closeSync, fdatasync, ftruncate, futimes, open, openSync, read, write } from "node:fs";
import { HawserError } from "../common/errors.ts";
import { tryNative } from "../common/native.ts";
import type { DiskPace } from "../common/disk-pace.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, EpochMs } from "../common/units.ts";

type Settle<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

function call<T>(start: (settle: Settle<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value)));
  });
}

export function openFd(path: string, flags: number, pace: DiskPace): MaybePromise<number> {
  return pace.run(
    () => openSync(path, flags, 0o600),
    () => call((settle) => open(path, flags, 0o600, settle)),
  );
}

export function closeFd(fd: number, pace: DiskPace): MaybePromise<void> {
  return pace.run(
    () => {
      try {
        closeSync(fd);
      } catch {
        // What was written is told by write and sync; a descriptor has nothing more to say.
      }
    },
    () => new Promise((resolve) => close(fd, () => resolve())),
  );
}

/** What is read at once where it lies in memory: a tenth of a millisecond. */
const AT_ONCE: Bytes = MiB;

/** @returns bytes read; fewer than the target holds only at the file's end */
export async function readAt(fd: number, target: Uint8Array, position: Bytes): Promise<Bytes> {
  let done = 0;
  const addon = target.length <= AT_ONCE ? tryNative() : undefined;
  while (done < target.length) {
    const from = done;
    const cached = addon?.readCached(fd, target, from, target.length - from, position + from) ?? -1;
    if (cached === 0) break;
    if (cached > 0) {
      done += cached;
      continue;
    }
    const count = await call<number>((settle) =>
      read(fd, target, from, target.length - from, position + from, settle),
    );
    if (count === 0) break;
    done += count;
  }
  return done;
}

export async function writeAt(fd: number, source: Uint8Array, position: Bytes): Promise<void> {
  let done = 0;
  while (done < source.length) {
    const from = done;
    done += await call<number>((settle) =>
      write(fd, source, from, source.length - from, position + from, settle),
    );
  }
}

export function truncateFd(fd: number, sizeBytes: Bytes): Promise<void> {
  return call<void>((settle) => ftruncate(fd, sizeBytes, (error) => settle(error, undefined)));
}

/**
 * Sets the time of the last change; that of the last access becomes the same. A double of seconds is not exact to the
 * nanosecond: the middle of the microsecond makes sure that what is read back rounds to the one that was set.
 */
export function setMtime(fd: number, mtimeMs: EpochMs): Promise<void> {
  const seconds = (wholeMicroseconds(mtimeMs) + 0.0005) / 1000;
  return call<void>((settle) => futimes(fd, seconds, seconds, (error) => settle(error, undefined)));
}

export function syncFd(fd: number): Promise<void> {
  return call<void>((settle) => fdatasync(fd, (error) => settle(error, undefined)));
}

const FULL = new Set(["ENOSPC", "EDQUOT"]);

/** A failure of the local disk as what the writer is told. */
export function localError(error: unknown, path: string): HawserError {
  if (error instanceof HawserError) return error;
  const { code = "", message } = error as Error & { code?: string };
  if (FULL.has(code)) {
    return new HawserError("no_space", `The staging disk is full (${path}).`, { cause: error });
  }
  if (code === "EFBIG" || code === "EINVAL") {
    return new HawserError(code === "EFBIG" ? "too_large" : "invalid_argument", message, { cause: error });
  }
  if (code === "EOPNOTSUPP") return new HawserError("not_supported", message, { cause: error });
  if (code === "EMFILE" || code === "ENFILE") {
    return new HawserError("too_many_open_files", message, { cause: error });
  }
  return new HawserError("io_error", `The staging file ${path} failed: ${message}.`, { cause: error });
}
