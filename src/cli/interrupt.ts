/**
 * Ctrl-C as an AbortSignal: the first stops cleanly, the second at once.
 *
 * A command that runs for another one, or for a program that calls the library, follows that one's signal instead: the
 * process's signals are the outermost's business alone.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { EXIT } from "./exit-codes.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const outer = new AsyncLocalStorage<AbortSignal>();

/** Runs `work` with a signal that Ctrl-C, SIGTERM and SIGHUP abort, or the one that `followingSignal` gave. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const given = outer.getStore();
  if (given) return await work(given);
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}

/** Runs `work`; every command in it is ended by this signal, and by nothing else. */
export async function followingSignal<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return await outer.run(signal, work);
}
