/**
 * StrayWork: content that a process before may have put under a key where it does not belong any more.
 *
 * A file was renamed or removed while the request that publishes it was under way, and then the process ended. The
 * object tells by its upload id whether it is that content: then a renamed file takes it from there, and it is deleted.
 * Nobody else touches the key before that is known.
 */
import { HawserError } from "../common/errors.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import type { Stray } from "./journal-state.ts";
import { retryDelayMs } from "./retry-delay.ts";
import type { LocalStaged } from "./staged-file.ts";
import { UPLOAD_ID_METADATA } from "./verdict.ts";
import type { Work } from "./work-queue.ts";

export interface StrayHost {
  find(key: string): LocalStaged | undefined;
  removeOrphan(key: string, etag: string): void;
  /** The file's content is to be taken from another key. */
  takesFromElsewhere(file: LocalStaged): void;
}

export class StrayWork implements Work {
  readonly seq = 0;
  readonly effect = "appear";
  readonly sizeBytes = 0;
  readonly key: string;
  readonly keys: readonly string[];
  readonly #context: Context;
  readonly #host: StrayHost;
  readonly #stray: Stray;
  readonly #owner: LocalStaged | undefined;
  #wake = (): void => undefined;

  /** @param owner the file that the content is of, under another key now */
  constructor(context: Context, host: StrayHost, stray: Stray, owner: LocalStaged | undefined) {
    this.#context = context;
    this.#host = host;
    this.#stray = stray;
    this.#owner = owner;
    this.key = stray.key;
    this.keys = owner && owner.key !== stray.key ? [stray.key, owner.key] : [stray.key];
  }

  hasten(): void {
    this.#wake();
  }

  async run(): Promise<void> {
    const { closing, clock, random, logger, journal } = this.#context;
    for (let failures = 1; !closing.aborted; failures++) {
      try {
        await this.#settle();
        journal.add({ t: "cleared", ...this.#stray });
        return;
      } catch (error) {
        if (closing.aborted) return;
        logger.warn({ err: error, key: this.key }, "it is not known yet whether an object was left behind");
        const wake = new AbortController();
        this.#wake = () => wake.abort();
        const ends = AbortSignal.any([closing, wake.signal]);
        await pause(clock, retryDelayMs(failures, random()), ends).catch(() => undefined);
      }
    }
  }

  async #settle(): Promise<void> {
    const { store, journal, closing: signal } = this.#context;
    const { uuid, n, key } = this.#stray;
    const present = await store.head(key, { reason: "flush", signal }).catch(notFound);
    if (present?.metadata[UPLOAD_ID_METADATA] !== `${uuid}-${n}`) return;
    const { etag, versionId, mtimeMs: mtime, sizeBytes: size } = present;
    const owner = this.#owner;
    if (owner && owner.entry.sealed?.n === n) {
      const { meta, sealed } = owner.entry;
      const at = { n, key, etag, versionId, size, mtime: sealed.size === size ? sealed.mtime : mtime, meta };
      owner.journal({ t: "uploaded", id: owner.id, ...at });
      if (owner.key === key) return;
      this.#host.takesFromElsewhere(owner);
    }
    const successor = this.#host.find(key);
    if (successor)
      journal.add({ t: "base", id: successor.id, base: { kind: "version", etag }, hidden: true });
    else this.#host.removeOrphan(key, etag);
  }
}

function notFound(error: unknown): undefined {
  if (HawserError.is(error, "not_found")) return undefined;
  throw error;
}
