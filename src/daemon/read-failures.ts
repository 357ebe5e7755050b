/**
 * Read failures in the log: why a program got EIO or ESTALE.
 *
 * An errno cannot say that an object is archived and how to restore it, or that bytes were wrong three times; the log
 * line can. One line for each key and code, again after a while, so that a failing loop does not fill the disk.
 */
import { LRUCache } from "lru-cache";
import type { BackingKernel, Content, ContentReader, Span } from "../cache/content.ts";
import type { Waiter } from "../common/cancellation.ts";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";

const SAY_AGAIN_MS: Milliseconds = 60_000;
/** Keys remembered as said. */
const MOST_SAID = 1000;

/** The same content, with what its readers could not read in the log. */
export function withReadFailures(content: Content, log: Logger): Content {
  const said = new LRUCache<string, true>({ max: MOST_SAID, ttl: SAY_AGAIN_MS });
  const failed = (error: unknown, key: string): void => {
    // Killed readers and an ending mount are no failures.
    if (HawserError.is(error, "interrupted", "closed")) return;
    const failure = toHawserError(error);
    const id = `${failure.code} ${key}`;
    if (said.has(id)) return;
    said.set(id, true);
    log.warn({ err: failure, key }, "a read failed");
  };
  return {
    open: (version, opener) => new LoggedReader(content.open(version, opener), failed),
    close: () => content.close(),
    [Symbol.asyncDispose]: () => content.close(),
  };
}

class LoggedReader implements ContentReader {
  private readonly inner: ContentReader;
  private readonly failed: (error: unknown, key: string) => void;

  constructor(inner: ContentReader, failed: (error: unknown, key: string) => void) {
    this.inner = inner;
    this.failed = failed;
  }

  get version(): ContentReader["version"] {
    return this.inner.version;
  }

  read(offset: number, length: number, waiter?: Waiter): MaybePromise<Span> {
    const span = this.inner.read(offset, length, waiter);
    if (!(span instanceof Promise)) return span;
    return span.catch((error: unknown) => {
      this.failed(error, this.version.key);
      throw error;
    });
  }

  backing(kernel: BackingKernel): ReturnType<ContentReader["backing"]> {
    return this.inner.backing(kernel);
  }

  close(): void {
    this.inner.close();
  }
}
