/**
 * InterruptWatch: tells a caller that was killed from one that merely got a signal.
 *
 * The kernel sends one INTERRUPT a request, for whatever signal comes first: a SIGALRM uses it up, and the SIGKILL after
 * it sends nothing. A read on a local disk is not interrupted by SIGALRM either, so the request goes on; but once it was
 * interrupted the caller's thread is looked at until it is done, and when SIGKILL is pending, the request is over.
 * Otherwise `kill -9` would leave a process in D state for as long as the store is down.
 */
import { readFile } from "node:fs/promises";
import type { Milliseconds } from "../common/units.ts";
import type { Request } from "./request.ts";

/** How long a killed process may wait to be noticed. */
const LOOK_EVERY_MS: Milliseconds = 50;
/** SIGKILL is bit 8 of the pending masks. */
const SIGKILL_BIT = 1 << 8;

/** Whether SIGKILL is pending for the thread, by the text of its /proc/TID/status. */
export function isKillPending(status: string): boolean {
  for (const [, mask] of status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)) {
    if (Number.parseInt(mask!.slice(-8), 16) & SIGKILL_BIT) return true;
  }
  return false;
}

export class InterruptWatch {
  readonly #onKilled: (request: Request) => void;
  readonly #watched = new Set<Request>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor(onKilled: (request: Request) => void) {
    this.#onKilled = onKilled;
  }

  /** Watches until the request is answered. */
  add(request: Request): void {
    this.#watched.add(request);
    this.#timer ??= setInterval(() => void this.#look(), LOOK_EVERY_MS);
    void this.#look();
  }

  close(): void {
    this.#watched.clear();
    this.#rest();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    for (const request of this.#watched) {
      if (!request.answered && (await isKilled(request.pid))) this.#onKilled(request);
      if (request.answered) this.#watched.delete(request);
    }
    this.#looking = false;
    if (this.#watched.size === 0) this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/**
 * A caller in another PID namespace has the number 0 or one that is not found: nothing can be learnt about it, and a
 * request that ends with EINTR for a mere signal is better than a process that cannot be killed.
 */
async function isKilled(tid: number): Promise<boolean> {
  if (tid === 0) return true;
  try {
    return isKillPending(await readFile(`/proc/${tid}/status`, "latin1"));
  } catch {
    return true;
  }
}
