/**
 * Sealing: waits until nobody can write a closed file.
 *
 * The last RELEASE is not the end: a mapping outlives it, and the kernel lets go of its own descriptor a moment later.
 * What tells is the lease test: F_SETLEASE F_RDLCK is refused while a writable descriptor or mapping is left. It is
 * repeated, less and less often.
 *
 * Of a small file that the kernel has written it is not even begun at once: whoever saves many of them asks for the next name at this very moment,
 * and is not to wait for it. It begins when the writer has its next file, or soon; nothing depends on when, as with a
 * test that was refused. A large file is sealed at once, and those that were closed before it with it: the order of
 * seals is the order in which large files hold others back.
 */
import type { Context } from "./context.ts";
import { leaseDelayMs } from "./retry-delay.ts";
import type { Milliseconds } from "../common/units.ts";
import { LARGE } from "./publish-order.ts";
import type { LocalStaged } from "./staged-file.ts";

/** How long a small file waits to be tested, if nobody makes a new one before. */
const SOON_MS: Milliseconds = 5;
/** After so many refusals, about half a second, it is a mapping that lives on: for whoever waits the file is open. */
const REFUSALS_OF_A_MAPPING = 9;

export class Sealing {
  readonly #context: Context;
  readonly #sealed: (file: LocalStaged) => void;
  readonly #refused = new Map<LocalStaged, { refusals: number; cancel: () => void }>();
  /** Small files that were closed a moment ago, in this order. */
  readonly #waiting = new Set<LocalStaged>();
  #cancelSoon: (() => void) | undefined;
  readonly #waiters = new Map<LocalStaged, ((sealed: boolean) => void)[]>();

  /** @param sealed nobody can write the file from now on */
  constructor(context: Context, sealed: (file: LocalStaged) => void) {
    this.#context = context;
    this.#sealed = sealed;
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** As `begin`, for a file that was just closed. */
  beginSoon(file: LocalStaged): void {
    const { flushed } = file.entry;
    if (!flushed || flushed.size >= LARGE) {
      this.beginWaiting();
      this.begin(file);
      return;
    }
    this.#waiting.add(file);
    this.#cancelSoon ??= this.#context.clock.after(SOON_MS, () => this.beginWaiting());
  }

  /** Begins with those that wait for it. */
  beginWaiting(): void {
    this.#cancelSoon?.();
    this.#cancelSoon = undefined;
    for (const file of this.#waiting) this.begin(file);
  }

  /** Tests a closed file now, and again until it is sealed or opened. */
  begin(file: LocalStaged): void {
    this.#waiting.delete(file);
    if (file.writers > 0 || file.isGone || file.state !== "closed" || this.#context.closing.aborted) return;
    try {
      if (!file.local.nobodyWrites()) {
        this.#again(file);
        return;
      }
      this.#forget(file);
      this.#sealed(file);
      this.#tell(file, true);
    } catch (error) {
      this.stop(file);
      this.#context.logger.error({ err: error, key: file.key }, "a staging file cannot be sealed");
    }
  }

  /** Resolves with true when the file is sealed, with false when somebody can still write it. */
  async until(file: LocalStaged): Promise<boolean> {
    if (file.writers > 0 || file.isGone) return false;
    if (file.state !== "closed") return true;
    if (this.#waiting.has(file)) {
      this.begin(file);
      return await this.until(file);
    }
    if ((this.#refused.get(file)?.refusals ?? 0) >= REFUSALS_OF_A_MAPPING) return false;
    return await new Promise((resolve) => {
      const waiters = this.#waiters.get(file);
      if (waiters) waiters.push(resolve);
      else this.#waiters.set(file, [resolve]);
    });
  }

  /** The file is open again, or gone. */
  stop(file: LocalStaged): void {
    this.#waiting.delete(file);
    this.#forget(file);
    this.#tell(file, false);
  }

  /** Lets go of everybody who waits. */
  close(): void {
    this.#cancelSoon?.();
    this.#waiting.clear();
    for (const file of this.#refused.keys()) this.#forget(file);
    for (const file of this.#waiters.keys()) this.#tell(file, false);
  }

  #again(file: LocalStaged): void {
    const waiting = this.#refused.get(file);
    waiting?.cancel();
    const refusals = (waiting?.refusals ?? 0) + 1;
    const cancel = this.#context.clock.after(leaseDelayMs(refusals), () => this.begin(file));
    this.#refused.set(file, { refusals, cancel });
    if (refusals >= REFUSALS_OF_A_MAPPING) this.#tell(file, false);
  }

  #forget(file: LocalStaged): void {
    this.#refused.get(file)?.cancel();
    this.#refused.delete(file);
  }

  #tell(file: LocalStaged, sealed: boolean): void {
    const waiters = this.#waiters.get(file) ?? [];
    this.#waiters.delete(file);
    for (const tell of waiters) tell(sealed);
  }
}
