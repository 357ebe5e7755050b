/**
 * Following several abort signals without leaving anything behind.
 *
 * AbortSignal.any keeps what it made alive as long as its sources on Node 20. A store's own signal lives as long as the
 * store and has thousands of followers.
 */
import { cancellable } from "../common/cancellation.ts";
import { HawserError } from "../common/errors.ts";
import { follow, unfollow } from "../common/followers.ts";

/**
 * Calls `stop` once when any of the signals fires (at once when one has). The returned function ends that; may be
 * called twice.
 */
export function followSignals(
  stop: () => void,
  ...signals: readonly (AbortSignal | undefined)[]
): () => void {
  const present = signals.filter((signal) => signal !== undefined);
  if (present.some(({ aborted }) => aborted)) {
    stop();
    return () => undefined;
  }
  const release = (): void => {
    for (const signal of present) unfollow(signal, fire);
  };
  const fire = (): void => {
    release();
    stop();
  };
  for (const signal of present) follow(signal, fire);
  return release;
}

/** What `work` resolves to, unless the signal fires first. The work itself goes on, unheard. @throws HawserError `interrupted` */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return cancellable(work, signal, () => new HawserError("interrupted", "The request was interrupted."));
}
