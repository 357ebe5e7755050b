/**
 * Strays: objects that may yet appear where they are not wanted.
 *
 * A file that is renamed or removed while its upload is under way may show itself under the old key for a moment, until
 * write-back has taken it away. Listings must not tell of it meanwhile. Nobody says when that danger is over, so it is
 * taken to last for a while.
 */
import type { Clock } from "../common/clock.ts";
import type { Milliseconds } from "../common/units.ts";
import type { StagedFile } from "../writeback/write-back.ts";
import type { Claims } from "./claims.ts";

/** Longer than an upload's last request and the deletion behind it take while the store answers. */
export const STRAY_MS: Milliseconds = 60_000;

export class Strays {
  readonly #claims: Claims;
  readonly #clock: Clock;
  readonly #timers = new Map<string, () => void>();

  constructor(claims: Claims, clock: Clock) {
    this.#claims = claims;
    this.#clock = clock;
  }

  /** The file leaves this key. */
  leaves(file: StagedFile, key: string): void {
    if (file.state !== "uploading") return;
    this.#claims.removed(key);
    this.#timers.get(key)?.();
    const over = (): void => {
      this.#timers.delete(key);
      this.#claims.settleKey(key, this.#clock.monotonic());
    };
    this.#timers.set(key, this.#clock.after(STRAY_MS, over));
  }

  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }
}
