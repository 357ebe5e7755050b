/**
 * MultipartJanitor: aborts multiparts that nobody will complete, until each is gone.
 *
 * They come from uploads that were given up, and from a process before that ended between beginning one and noting its
 * id: those are found by listing the key's uploads. Where the store denies it, the bucket's lifecycle has to, and it is
 * said once.
 */
import { HawserError } from "../common/errors.ts";
import type { EpochMs, Milliseconds } from "../common/units.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import { retryDelayMs } from "./retry-delay.ts";

/** The store's clock may differ from ours by so much. */
const CLOCK_SKEW_MS: Milliseconds = 15 * 60_000;

export class MultipartJanitor {
  readonly #context: Context;
  readonly #lost: Promise<void>;
  #running: Promise<void> | undefined;
  #again = false;

  /** Looks at once for what a process before has left. */
  constructor(context: Context) {
    this.#context = context;
    this.#lost = this.#findLost();
  }

  /**
   * Resolves when the uploads that a process before has lost are found: a new one under the same key could not be told
   * from them.
   */
  async lostFound(): Promise<void> {
    await this.#lost;
  }

  /** Looks for work. */
  kick(): void {
    this.#again = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  /** Resolves when there is nothing to be done now. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #findLost(): Promise<void> {
    const { journal } = this.#context;
    for (const [id, { key, at }] of new Map(journal.state.begins)) {
      if (await this.#persistently(() => this.#listLost(key, at))) journal.add({ t: "begun", id });
    }
    this.kick();
  }

  async #listLost(key: string, since: EpochMs): Promise<void> {
    const { store, journal, closing: signal } = this.#context;
    try {
      const uploads = await store.listMultiparts(key, { reason: "flush", signal });
      const known = new Set<string>();
      for (const { multipart } of journal.state.files.values()) if (multipart) known.add(multipart.mp);
      for (const upload of uploads) {
        if (upload.key !== key || known.has(upload.uploadId)) continue;
        if (upload.initiatedMs < since - CLOCK_SKEW_MS) continue;
        journal.add({ t: "orphan", mp: upload.uploadId, key });
      }
    } catch (error) {
      if (!HawserError.is(error, "access_denied", "not_supported_by_store")) throw error;
      this.#context.sayOnce(
        "list_multiparts",
        "Listing uploads is denied: one that was interrupted while it began is left to the bucket's lifecycle.",
        error,
      );
    }
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#context.closing.aborted) {
      this.#again = false;
      for (const [mp, key] of this.#context.journal.state.abandoned) {
        if (!(await this.#persistently(() => this.#abort(key, mp)))) return;
        this.#context.journal.add({ t: "aborted", mp });
        this.#context.fault("abort.after");
      }
    }
  }

  async #abort(key: string, mp: string): Promise<void> {
    const { store, closing: signal } = this.#context;
    try {
      await store.abortMultipart(key, mp, { reason: "flush", signal });
    } catch (error) {
      if (HawserError.is(error, "not_found")) return;
      if (!HawserError.is(error, "access_denied", "not_supported_by_store")) throw error;
      this.#context.sayOnce(
        "abort",
        "Aborting uploads is denied: parts of given-up uploads stay until the bucket's lifecycle removes them.",
        error,
      );
    }
  }

  /** @returns false when write-back was closed before it succeeded */
  async #persistently(work: () => Promise<void>): Promise<boolean> {
    const { clock, random, closing, logger } = this.#context;
    for (let failures = 1; !closing.aborted; failures++) {
      try {
        await work();
        return true;
      } catch (error) {
        if (closing.aborted) break;
        logger.debug({ err: error }, "an upload could not be aborted yet");
        await pause(clock, retryDelayMs(failures, random()), closing).catch(() => undefined);
      }
    }
    return false;
  }
}
