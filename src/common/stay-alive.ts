/**
 * Keeps the process running while somebody waits.
 *
 * A Clock's timers keep nothing alive, so that a mount or a program that is done can end. A program that has nothing else to
 * do than to wait for one of them would end in the middle, with exit code 13: such a wait says so here.
 */

/** Longest delay that a timer takes. */
const FOREVER_MS = 2 ** 31 - 1;

/** @returns ends it; may be called twice */
export function stayAlive(): () => void {
  const timer = setInterval(() => undefined, FOREVER_MS);
  return () => clearInterval(timer);
}
