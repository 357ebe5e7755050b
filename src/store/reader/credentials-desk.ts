/**
 * Hands credentials to the engines: when they ask, and whenever the source has new ones.
 *
 * Every snapshot given out has a version, so that an engine that complains about an older one is given the present one
 * instead of making the source fetch yet another. Complaints about the present one are passed on at most every few
 * seconds: a bucket that denies ten thousand keys must not mean ten thousand calls to STS.
 */
import type { Clock } from "../../common/clock.ts";
import { toHawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { CredentialSource, Credentials } from "../credentials.ts";
import { toWire } from "../lean/wire-error.ts";
import type { ToWorker } from "./protocol.ts";

const MIN_BETWEEN_COMPLAINTS: Milliseconds = 5_000;
/** How often the source is given the chance to renew ahead of expiry. */
const RENEW_EVERY: Milliseconds = 60_000;

type Post = (message: ToWorker) => void;

export class CredentialsDesk {
  readonly #source: CredentialSource;
  readonly #clock: Clock;
  readonly #broadcast: Post;
  readonly #unsubscribe: () => void;
  #present: Credentials | undefined;
  #version = 0;
  #complainedAt: Milliseconds = Number.NEGATIVE_INFINITY;
  #stopRenewal: (() => void) | undefined;
  #closed = false;

  constructor(source: CredentialSource, clock: Clock, broadcast: Post) {
    this.#source = source;
    this.#clock = clock;
    this.#broadcast = broadcast;
    this.#unsubscribe = source.onChange((fresh) => this.#publish(fresh));
    if (!source.anonymous) this.#renewLater();
  }

  /** An engine cannot go on with this version (0: it has none). */
  refresh(version: number, reply: Post): void {
    if (version !== this.#version && this.#present) return this.#answer(reply);
    const now = this.#clock.monotonic();
    if (this.#present) {
      if (now - this.#complainedAt < MIN_BETWEEN_COMPLAINTS) return this.#answer(reply);
      this.#complainedAt = now;
      this.#source.invalidate(this.#present);
    }
    this.#source.get().then(
      (credentials) => {
        if (this.#closed || !credentials) return;
        if (credentials !== this.#present) this.#publish(credentials);
        this.#answer(reply);
      },
      (error: unknown) => reply({ op: "no-credentials", error: toWire(toHawserError(error)) }),
    );
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#stopRenewal?.();
  }

  #publish(credentials: Credentials): void {
    if (this.#closed || credentials === this.#present) return;
    this.#present = credentials;
    this.#version++;
    this.#broadcast({ op: "credentials", credentials, version: this.#version });
  }

  /** Again, if need be: an engine that asked waits for an answer of its own. */
  #answer(reply: Post): void {
    reply({ op: "credentials", credentials: this.#present!, version: this.#version });
  }

  #renewLater(): void {
    this.#stopRenewal = this.#clock.after(RENEW_EVERY, () => {
      // What goes wrong here is met again, and told, when the store refuses a request.
      if (this.#present) this.#source.get().catch(() => undefined);
      this.#renewLater();
    });
  }
}
