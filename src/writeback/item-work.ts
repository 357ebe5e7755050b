/**
 * ItemWork: deletes, moves, metadata changes and markers, as works of the queue.
 *
 * Each is journaled before it is promised and again when it is done; a move besides when its copy is there, so that a
 * crash between copy and delete neither loses the object nor leaves it twice. Each can be repeated: what is found done
 * counts as done. Somebody else's object is never deleted or overwritten knowingly: then the item ends, and it is said.
 */
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError, toHawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import { copyObject } from "./multipart-begin.ts";
import { putOf, timeOf } from "./object-meta.ts";
import type { Item } from "./records.ts";
import { retryDelayMs } from "./retry-delay.ts";
import { UPLOAD_ID_METADATA, isFinal } from "./verdict.ts";
import { untilOrAborted } from "./work-queue.ts";
import type { Work } from "./work-queue.ts";

/** A change of metadata waits a little for the next: chmod, chown and utimes come in a row, and a copy carries them all. */
export const META_FOLDING_MS: Milliseconds = 100;

/** What ItemWork tells the owner of all items. */
export interface ItemHost {
  /** The object of this version has become another with the same bytes: items after this one, and files, mean that. */
  renewed(after: number, from: { key: string; etag: string }, to: ObjectVersion): void;
  readonly sources: CopySources;
  failed(item: ItemWork, error: HawserError): void;
  /** Done, or come to nothing. */
  ended(item: ItemWork): void;
}

export class ItemWork implements Work {
  readonly seq: number;
  readonly key: string;
  readonly keys: readonly string[];
  readonly effect: "appear" | "vanish";
  readonly sizeBytes: Bytes;
  item: Item;
  lastError: HawserError | undefined;
  /** Requests were sent: it cannot be taken back. */
  acted = false;
  readonly #context: Context;
  readonly #host: ItemHost;
  readonly #after: Promise<void> | undefined;
  readonly #cancel = new AbortController();
  readonly #over: Promise<void>;
  #end = (): void => undefined;
  #wake = (): void => undefined;
  #foldMs: Milliseconds = 0;
  readonly #waiters = new Set<{ resolve(): void; reject(error: unknown): void }>();

  constructor(context: Context, host: ItemHost, seq: number, item: Item, after?: Promise<void>) {
    this.#context = context;
    this.#host = host;
    this.seq = seq;
    this.item = item;
    this.#after = after;
    this.keys = keysOf(item);
    this.key = this.keys.at(-1)!;
    this.effect = item.kind === "remove" ? "vanish" : "appear";
    this.sizeBytes = item.kind === "move" ? item.version.sizeBytes : 0;
    if (item.kind === "meta") this.#foldMs = META_FOLDING_MS;
    this.#over = new Promise((resolve) => (this.#end = resolve));
  }

  /** Takes it back. @returns false when requests were sent */
  cancel(): boolean {
    if (this.acted) return false;
    this.#cancel.abort();
    this.#finish();
    return true;
  }

  hasten(): void {
    this.#foldMs = 0;
    this.#wake();
  }

  /** Resolves when it is done. @throws its failure that stays */
  async settled(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const waiter = { resolve, reject };
      this.#waiters.add(waiter);
      void this.#over.then(resolve);
    });
  }

  async run(): Promise<void> {
    const { closing, clock, random, logger } = this.#context;
    const ends = AbortSignal.any([closing, this.#cancel.signal]);
    for (let failures = 1; !ends.aborted; failures++) {
      try {
        if (this.#after) await untilOrAborted(this.#after, ends);
        await this.#untilFree(ends);
        if (this.#foldMs > 0) await this.#backOff(this.#foldMs, clock, ends);
        this.#foldMs = 0;
        await this.#context.queue.turn(this, ends);
        ends.throwIfAborted();
        this.acted = true;
        await this.#act();
        this.#finish();
        return;
      } catch (error) {
        if (ends.aborted) return;
        const final = isFinal(error);
        this.lastError = toHawserError(error);
        logger.warn({ err: error, item: this.item.kind, key: this.key }, "a change of the bucket failed");
        if (final) {
          this.#host.failed(this, this.lastError);
          for (const waiter of this.#waiters) waiter.reject(this.lastError);
          this.#waiters.clear();
        }
        await this.#backOff(final ? 2 ** 30 : retryDelayMs(failures, random()), clock, ends);
      }
    }
  }

  /** The key whose object is gone or another one afterwards: it stays while staged files are to be copied from it. */
  get vanishing(): string | undefined {
    const { item } = this;
    if (item.kind === "meta") return undefined;
    return item.kind === "move" ? item.version.key : this.key;
  }

  async #untilFree(ends: AbortSignal): Promise<void> {
    const { vanishing } = this;
    if (vanishing === undefined) return;
    const { sources } = this.#host;
    for (let free = sources.untilUnneeded(vanishing, ends); free;) {
      await free;
      free = sources.untilUnneeded(vanishing, ends);
    }
  }

  async #backOff(ms: Milliseconds, clock: Context["clock"], ends: AbortSignal): Promise<void> {
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    await pause(clock, ms, AbortSignal.any([ends, wake.signal])).catch(() => undefined);
    this.#wake = () => undefined;
  }

  #finish(): void {
    this.#end();
    this.#waiters.clear();
    this.#host.ended(this);
  }

  async #act(): Promise<void> {
    const { item } = this;
    switch (item.kind) {
      case "remove":
        return await this.#delete(item.key, item.etag);
      case "move":
        return await this.#move(item);
      case "meta":
        return await this.#replaceMeta(item);
      case "mark":
        return await this.#mark(item);
    }
  }

  async #delete(key: string, etag: string | undefined): Promise<void> {
    const { store, closing: signal, logger, fault } = this.#context;
    fault("delete.before");
    // What can have no such key is not there.
    const gone = await this.#unless(["not_found", "object_changed", "name_too_long"], async () => {
      if (etag === undefined) await store.delete(key, { reason: "flush", signal });
      else await deleteVersion(this.#context, key, etag);
    });
    fault("delete.after");
    if (!gone)
      logger.info({ key }, "an object that was to be deleted is gone or was changed by somebody else");
  }

  async #move(item: Extract<Item, { kind: "move" }>): Promise<void> {
    const { closing: signal, options, journal, logger, fault } = this.#context;
    const { version, toKey } = item;
    if (version.key === toKey) return;
    let { copied } = item;
    if (!copied) {
      fault("copy.before");
      const source = { key: version.key, ifMatch: version.etag };
      const put = { ...options.put, ...keptClass(version, options.put) };
      const request = { ...put, metadataDirective: "copy", reason: "flush", signal } as const;
      const there = await this.#unless(["not_found", "object_changed"], async () => {
        copied = await copyObject(this.#context, source, toKey, request);
      });
      fault("copy.after");
      if (!there || !copied) {
        logger.warn(
          { from: version.key, to: toKey },
          "an object that was renamed was changed or deleted by others",
        );
        return;
      }
      this.item = { ...item, copied };
      journal.add({ t: "item", seq: this.seq, item: this.item });
      await journal.flush();
    }
    const made = { ...version, key: toKey, etag: copied.etag, versionId: copied.versionId };
    // In one turn: from here on its bytes are read from the copy.
    this.#context.moves.remove(this.seq, item);
    this.#host.renewed(this.seq, { key: toKey, etag: version.etag }, made);
    this.#tellCopied(version, made);
    await this.#delete(version.key, version.etag);
  }

  async #replaceMeta(item: Extract<Item, { kind: "meta" }>): Promise<void> {
    const { store, closing: signal, options, logger } = this.#context;
    const { version, meta, uuid } = item;
    const { key, etag } = version;
    const put = putOf(meta);
    const metadata = { ...put.metadata, [UPLOAD_ID_METADATA]: uuid };
    let made: { etag: string; versionId?: string | undefined } | undefined;
    const here = await this.#unless(["not_found", "object_changed"], async () => {
      const request = {
        ...options.put,
        ...keptClass(version, options.put),
        ...put,
        metadata,
        metadataDirective: "replace",
        reason: "flush",
        signal,
      } as const;
      made = await copyObject(this.#context, { key, ifMatch: etag }, key, request);
    });
    if (!here) {
      // A copy whose answer was lost has changed the ETag of a multipart object.
      const present = await store.head(key, { reason: "flush", signal }).catch(notFound);
      if (present?.metadata[UPLOAD_ID_METADATA] === uuid) made = present;
    }
    if (!made) {
      logger.warn({ key }, "metadata was not changed: the object was changed or deleted by others");
      return;
    }
    const renewed = { ...version, mtimeMs: timeOf(meta) ?? version.mtimeMs, ...pick(made) };
    this.#host.renewed(this.seq, { key, etag }, renewed);
    this.#tellCopied(version, renewed);
  }

  /** To whoever listens by now: what a process before has left begins before anybody does. */
  #tellCopied({ key, etag }: ObjectVersion, made: ObjectVersion): void {
    this.#context.events?.copied({ key, etag }, made);
  }

  async #mark(item: Extract<Item, { kind: "mark" }>): Promise<void> {
    const { store, closing: signal, options } = this.#context;
    await store.put(item.key, new Uint8Array(0), {
      ...options.put,
      ...putOf(item.meta),
      reason: "flush",
      signal,
    });
  }

  /** @returns false for one of the codes */
  async #unless(codes: ErrorCode[], act: () => Promise<void>): Promise<boolean> {
    try {
      await act();
      return true;
    } catch (error) {
      if (HawserError.is(error, ...codes)) return false;
      throw error;
    }
  }
}

function pick(made: { etag: string; versionId?: string | undefined }): {
  etag: string;
  versionId: string | undefined;
} {
  return { etag: made.etag, versionId: made.versionId };
}

/** A copy without a storage class would be of the bucket's own. */
function keptClass(
  { storageClass }: ObjectVersion,
  wanted: Context["options"]["put"],
): { storageClass?: string | undefined } {
  return { storageClass: wanted.storageClass ?? storageClass };
}

function notFound(error: unknown): undefined {
  if (HawserError.is(error, "not_found")) return undefined;
  throw error;
}

function keysOf(item: Item): string[] {
  switch (item.kind) {
    case "remove":
    case "mark":
      return [item.key];
    case "meta":
      return [item.version.key];
    case "move":
      return [item.version.key, item.toKey];
  }
}

/**
 * Deletes an object if it is this version. Where the store has no conditional delete, it is looked at just before.
 *
 * @throws `not_found`, `object_changed`
 */
async function deleteVersion(context: Context, key: string, etag: string): Promise<void> {
  const { store, closing: signal } = context;
  if (store.capabilities.conditionalPut) {
    try {
      return await store.delete(key, { ifMatch: etag, reason: "flush", signal });
    } catch (error) {
      if (!HawserError.is(error, "not_supported_by_store")) throw error;
    }
  }
  const present = await store.head(key, { reason: "flush", signal });
  if (present.etag !== etag) throw new HawserError("object_changed", `${key} was changed by somebody else.`);
  await store.delete(key, { reason: "flush", signal });
}
