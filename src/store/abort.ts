/**
 * Following abort signals without leaving anything behind.
 *
 * AbortSignal.any keeps what it made alive as long as its sources on Node 20, and a signal with more than ten listeners
 * prints a warning about a leak. A store's own signal lives as long as the store and has thousands of followers.
 */
import { setMaxListeners } from "node:events";
import { HawserError } from "../common/errors.ts";

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
    for (const signal of present) signal.removeEventListener("abort", fire);
  };
  const fire = (): void => {
    release();
    stop();
  };
  for (const signal of present) {
    setMaxListeners(0, signal);
    signal.addEventListener("abort", fire, { once: true });
  }
  return release;
}

/** What `work` resolves to, unless the signal fires first. The work itself goes on, unheard. @throws HawserError `interrupted` */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  let release = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    release = followSignals(
      () => reject(new HawserError("interrupted", "The request was interrupted.")),
      signal,
    );
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    release();
  }
}
