/**
 * Cancellation: tells whoever waits for an answer that nobody wants it any more.
 *
 * What an AbortSignal does, for waits of which there are thousands a second: making a signal and listening to it takes
 * 30 us. The signal is made where somebody asks for it.
 */
import { follow, unfollow } from "./followers.ts";

export class Cancellation {
  #cancelled = false;
  #listeners: Set<() => void> | undefined;
  #controller: AbortController | undefined;

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Fires when this is cancelled. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#cancelled) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#controller?.abort();
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }

  /** Calls `listener` once, when this is cancelled after now. */
  listen(listener: () => void): void {
    (this.#listeners ??= new Set()).add(listener);
  }

  unlisten(listener: () => void): void {
    this.#listeners?.delete(listener);
  }
}

/** Who may stop waiting: a caller of the filesystem, or our own work that is ended by a signal. */
export type Waiter = AbortSignal | Cancellation;

export function signalOf(waiter: Waiter | undefined): AbortSignal | undefined {
  return waiter instanceof Cancellation ? waiter.signal : waiter;
}

export function isCancelled(waiter: Waiter | undefined): boolean {
  return waiter instanceof Cancellation ? waiter.cancelled : (waiter?.aborted ?? false);
}

/** The promise, or a rejection with what `reason` makes when the waiter is cancelled first. */
export function cancellable<T>(
  promise: Promise<T>,
  waiter: Waiter | undefined,
  reason: () => Error,
): Promise<T> {
  if (waiter === undefined) return promise;
  if (isCancelled(waiter)) {
    // Nobody else may hear how it ends.
    promise.catch(() => undefined);
    return Promise.reject(reason());
  }
  return new Promise<T>((resolve, reject) => {
    const onCancelled = (): void => reject(reason());
    const stop = (): void => {
      if (waiter instanceof Cancellation) waiter.unlisten(onCancelled);
      else unfollow(waiter, onCancelled);
    };
    if (waiter instanceof Cancellation) waiter.listen(onCancelled);
    else follow(waiter, onCancelled);
    promise.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}
