/**
 * Strays: objects that may yet appear where they are not wanted.
 *
 * A file that is renamed or removed while its upload is under way may show itself under the old key for a moment, until
 * write-back has taken it away. Listings must not tell of it meanwhile: for a while, and for as long as write-back still
 * has something to do about the key.
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
  readonly #isBusy: (key: string) => boolean;
  readonly #timers = new Map<string, () => void>();

  /** @param isBusy write-back has something to do about a key */
  constructor(claims: Claims, clock: Clock, isBusy: (key: string) => boolean) {
    this.#claims = claims;
    this.#clock = clock;
    this.#isBusy = isBusy;
  }

  /** The file leaves this key. */
  leaves(file: StagedFile, key: string): void {
    if (file.state !== "uploading") return;
    this.#claims.removed(key);
    this.#timers.get(key)?.();
    this.#later(key);
  }

  #later(key: string): void {
    const look = (): void => {
      if (this.#isBusy(key)) {
        this.#later(key);
        return;
      }
      this.#timers.delete(key);
      this.#claims.settleKey(key, this.#clock.monotonic());
    };
    this.#timers.set(key, this.#clock.after(STRAY_MS, look));
  }

  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }
}
