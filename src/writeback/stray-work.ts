/**
 * StrayWork: content that a process before may have put under a key where it does not belong any more.
 *
 * A file was renamed or removed while the request that publishes it was under way, and then the process ended; or the
 * process ended, and the next one renames or removes the file before it knows what came of the request. The object tells
 * by its upload id whether it is a content of the file: then a renamed file takes it from there where it is the present
 * one, and it is deleted. Nobody else touches the key before that is known. A request of the dead process may take
 * effect a moment after its end, so that "nothing there" counts only a while after the start.
 */
import { toHawserError } from "../common/errors.ts";
import type { HawserError } from "../common/errors.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import { contentOf } from "./file-entry.ts";
import type { Stray } from "./journal-state.ts";
import { presentObject } from "./publish.ts";
import { retryDelayMs } from "./retry-delay.ts";
import type { LocalStaged } from "./staged-file.ts";
import { LATE_MS, UPLOAD_ID_METADATA, isFinal } from "./verdict.ts";
import type { Work } from "./work-queue.ts";

/** What StrayWork asks of the others. */
export interface StrayHost {
  find(key: string): LocalStaged | undefined;
  removeOrphan(key: string, etag: string): void;
  /** The store does not let it be known: a flush asks again. */
  unresolved(stray: Stray): void;
  readonly sources: CopySources;
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
  /** Ended without knowing: why. */
  unresolved: HawserError | undefined;

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
    const context = this.#context;
    const { closing, clock, random, logger, journal } = context;
    for (let failures = 1; !closing.aborted; failures++) {
      try {
        const left = context.openedMs + LATE_MS - clock.monotonic();
        if (!(await this.#settle()) && left > 0) {
          await pause(clock, left, closing);
          await this.#settle();
        }
        journal.add({ t: "cleared", ...this.#stray });
        return;
      } catch (error) {
        if (closing.aborted) return;
        if (isFinal(error)) {
          this.unresolved = toHawserError(error);
          logger.error({ err: error, key: this.key }, "it is not known whether an object was left behind");
          this.#host.unresolved(this.#stray);
          return;
        }
        logger.warn({ err: error, key: this.key }, "it is not known yet whether an object was left behind");
        const wake = new AbortController();
        this.#wake = () => wake.abort();
        const ends = AbortSignal.any([closing, wake.signal]);
        await pause(clock, retryDelayMs(failures, random()), ends).catch(() => undefined);
      }
    }
  }

  /** @returns false when the object there, if any, is none of the file's */
  async #settle(): Promise<boolean> {
    const { store, journal, closing: signal } = this.#context;
    const { uuid, key } = this.#stray;
    const present = await presentObject(key, { store, signal });
    const n = contentOf(uuid, present?.metadata[UPLOAD_ID_METADATA]);
    if (!present || n === undefined) return false;
    const { etag, versionId, mtimeMs: mtime, sizeBytes: size } = present;
    const owner = this.#owner;
    if (owner && owner.entry.sealed?.n === n) {
      const { meta, sealed } = owner.entry;
      const at = { n, key, etag, versionId, size, mtime: sealed.size === size ? sealed.mtime : mtime, meta };
      owner.journal({ t: "uploaded", id: owner.id, ...at });
      if (owner.key === key) return true;
      this.#host.sources.add(owner);
    }
    const successor = this.#host.find(key);
    if (successor)
      journal.add({ t: "base", id: successor.id, base: { kind: "version", etag }, hidden: true });
    else this.#host.removeOrphan(key, etag);
    return true;
  }
}
