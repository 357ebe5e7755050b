/**
 * StrayObjects: content that a process before may have put under a key where it does not belong any more.
 *
 * A file was renamed or removed while the request that publishes it was under way, and then the process ended. The
 * object tells by its upload id whether it is that content: then a renamed file takes it from there, and it is deleted.
 */
import { HawserError } from "../common/errors.ts";
import type { Context } from "./context.ts";
import type { FileEntry } from "./file-entry.ts";
import type { Stray } from "./journal-state.ts";
import { UPLOAD_ID_METADATA } from "./verdict.ts";

export class StrayObjects {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Finds out about each and notes what is to be done. A store that cannot be reached leaves them for the next time. */
  async settleBefore(entries: readonly FileEntry[]): Promise<void> {
    const { journal, logger } = this.#context;
    for (const stray of journal.state.strays.values()) {
      try {
        await this.#settle(stray, entries);
        journal.add({ t: "cleared", ...stray });
      } catch (error) {
        logger.warn({ err: error, key: stray.key }, "it is not known whether an object was left behind");
      }
    }
  }

  async #settle(stray: Stray, entries: readonly FileEntry[]): Promise<void> {
    const { store, journal, closing: signal } = this.#context;
    const { uuid, n, key } = stray;
    const present = await store.head(key, { reason: "flush", signal }).catch(notFound);
    if (present?.metadata[UPLOAD_ID_METADATA] !== `${uuid}-${n}`) return;
    const { etag, versionId, mtimeMs: mtime, sizeBytes: size } = present;
    const owner = entries.find((entry) => entry.uuid === uuid);
    if (owner?.sealed?.n === n) {
      const { meta } = owner;
      journal.add({ t: "uploaded", id: owner.id, n, key, etag, versionId, size, mtime, meta });
      if (owner.key === key) return;
    }
    const successor = entries.find((entry) => entry.key === key);
    if (successor) journal.add({ t: "base", id: successor.id, base: { kind: "version", etag } });
    else journal.add({ t: "item", seq: journal.state.nextSeq++, item: { kind: "remove", key, etag } });
  }
}

function notFound(error: unknown): undefined {
  if (HawserError.is(error, "not_found")) return undefined;
  throw error;
}
