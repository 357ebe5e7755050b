/**
 * Wait list: questions that cannot be answered yet.
 *
 * Each waiter looks again whenever something has changed. It leaves by an answer, a failure, its caller's death or the
 * list's end, exactly once, and `done` is called then.
 */
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";

export interface Waiter<T> {
  /** Looks whether there is an answer. What it throws is the answer too. */
  step(answer: (value: MaybePromise<T>) => void): void;
  done(): void;
}

interface Entry {
  step(): void;
  reject(error: unknown): void;
}

export class WaitList {
  readonly #entries = new Map<object, Entry>();
  #closed = false;

  get size(): number {
    return this.#entries.size;
  }

  /** Looks once at once, then at every `step`. */
  wait<T>(waiter: Waiter<T>, signal: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const leave = (): boolean => {
        if (!this.#entries.delete(waiter)) return false;
        signal.removeEventListener("abort", abort);
        waiter.done();
        return true;
      };
      const entry: Entry = {
        step: () => {
          try {
            waiter.step((value) => {
              if (leave()) resolve(value);
            });
          } catch (error) {
            entry.reject(error);
          }
        },
        reject: (error) => {
          if (leave()) reject(error instanceof Error ? error : new HawserError("internal", String(error)));
        },
      };
      const abort = (): void =>
        entry.reject(new HawserError("interrupted", "The caller was killed while it waited."));
      this.#entries.set(waiter, entry);
      if (this.#closed) return entry.reject(new HawserError("closed", "The volume was closed."));
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort);
      entry.step();
    });
  }

  /** Something has changed: everybody looks again. */
  step(): void {
    for (const entry of this.#entries.values()) entry.step();
  }

  reject(waiter: object, error: unknown): void {
    this.#entries.get(waiter)?.reject(error);
  }

  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values())
      entry.reject(new HawserError("closed", "The volume was closed."));
  }
}
