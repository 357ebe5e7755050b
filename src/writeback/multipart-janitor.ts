/**
 * MultipartJanitor: aborts multiparts that nobody will complete, until each is gone.
 *
 * They come from uploads that were given up, whose ids the journal knows, and from requests to begin one that were never
 * answered, because the process ended or the connection did. Those have to be found in the bucket, where other workers
 * upload too. S3 lists no metadata with an upload, so that nothing in it can say whose it is. One is taken to be ours
 * when everything speaks for it (see `mayBeOurs`) and it has no part, and has none still QUIET_MS later: nobody could have
 * sent parts of one whose id was lost, and an upload that is alive gets some. Where the store denies the listing, the
 * bucket's lifecycle has to clean up, and it is said once.
 */
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { PendingMultipart } from "../store/object-store.ts";
import { pause } from "./context.ts";
import type { Context } from "./context.ts";
import type { Beginning } from "./journal-state.ts";
import { retryDelayMs } from "./retry-delay.ts";
import { isFinal } from "./verdict.ts";
import { untilOrAborted } from "./work-queue.ts";

/** The store's clock may differ from ours by so much: more, and it accepts no request. */
const CLOCK_SKEW_MS: Milliseconds = 15 * 60_000;
/** Longer than a request to begin an upload is tried for. */
const BEGIN_MS: Milliseconds = 2 * 60_000;
/**
 * How long an upload must be known without a part, and how long a request may take effect after its connection is gone.
 * A part of 8 MiB takes as long at 1 MB/s.
 */
export const QUIET_MS: Milliseconds = 10_000;
/** How long an unmount waits for uploads to be aborted at most: the next mount goes on with it. */
const PATIENCE_MS: Milliseconds = 60_000;

/** Whether an upload in a listing can be the one that was begun then, by what the listing says of it. */
export function mayBeOurs(upload: PendingMultipart, { key, at }: Beginning): boolean {
  if (upload.key !== key) return false;
  const { initiatedMs } = upload;
  return initiatedMs >= at - CLOCK_SKEW_MS && initiatedMs <= at + BEGIN_MS + CLOCK_SKEW_MS;
}

/** What looking for the uploads of a key has shown. */
interface Search {
  /** Looked first for the last of the beginnings, by the monotonic clock. */
  sinceMs: Milliseconds;
  beginnings: number;
  /** Uploads without parts, and when each was seen first. */
  readonly empty: Map<string, Milliseconds>;
}

export class MultipartJanitor {
  readonly #context: Context;
  readonly #searches = new Map<string, Search>();
  /** Ids of others' uploads. */
  readonly #foreign = new Set<string>();
  #running: Promise<void> | undefined;
  #again = false;
  #cancelLook: (() => void) | undefined;
  #waiters: (() => void)[] = [];

  /** Looks at once for what a process before has left. */
  constructor(context: Context) {
    this.#context = context;
    context.beginnings.onEnd = () => this.kick();
    this.kick();
  }

  /** Looks for work. */
  kick(): void {
    if (this.#context.closing.aborted) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Asked for while the run was coming to its end, when it had looked for that already.
      if (this.#again) this.kick();
    });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    this.#cancelLook?.();
    await this.#running;
  }

  /** Resolves when what is to be aborted now is gone, or after a minute: some stores take their time. */
  async tidy(signal: AbortSignal | undefined): Promise<void> {
    const { journal, closing, clock, logger, beginnings } = this.#context;
    const { abandoned, begins } = journal.state;
    const uploads = [...abandoned.keys()];
    const searched = [...begins].filter(([, { key }]) => !beginnings.has(key)).map(([name]) => name);
    const isLeft = (): boolean =>
      uploads.some((mp) => abandoned.has(mp)) ||
      searched.some((name) => begins.has(name)) ||
      // Found by a search: they are aborted next.
      (searched.length > 0 && abandoned.size > 0);
    const givesUpMs = clock.monotonic() + PATIENCE_MS;
    const ends = signal ? AbortSignal.any([closing, signal]) : closing;
    const cancel = clock.after(PATIENCE_MS, () => this.#tell());
    try {
      while (isLeft() && clock.monotonic() < givesUpMs) {
        await untilOrAborted(new Promise<void>((go) => this.#waiters.push(go)), ends);
      }
    } finally {
      cancel();
    }
    if (isLeft())
      logger.warn("uploads that were given up are not aborted yet: the next mount goes on with it");
  }

  #tell(): void {
    for (const go of this.#waiters.splice(0)) go();
  }

  async #run(): Promise<void> {
    const { journal, closing, beginnings, fault } = this.#context;
    while (this.#again && !closing.aborted) {
      this.#again = false;
      for (const key of new Set([...journal.state.begins.values()].map((beginning) => beginning.key))) {
        if (beginnings.has(key)) continue;
        if (!(await this.#persistently(() => this.#look(key)))) return;
      }
      for (const [mp, key] of journal.state.abandoned) {
        if (!(await this.#persistently(() => this.#abort(key, mp)))) return;
        journal.add({ t: "aborted", mp });
        fault("abort.after");
      }
      await journal.flush().catch(() => undefined);
      this.#tell();
    }
  }

  /** Looks for uploads of which the id was lost; once more a while later, before it is over. */
  async #look(key: string): Promise<void> {
    const { journal, beginnings, clock } = this.#context;
    const begun = [...journal.state.begins.values()].filter((beginning) => beginning.key === key);
    const found = await this.#listed(key, begun);
    // One of ours may have been begun meanwhile: the end of that looks again.
    if (beginnings.has(key)) return;
    if (found === "denied") return this.#searched(key, begun);
    const now = clock.monotonic();
    const search = this.#searches.get(key) ?? { sinceMs: now, beginnings: 0, empty: new Map() };
    this.#searches.set(key, search);
    if (search.beginnings !== begun.length) [search.sinceMs, search.beginnings] = [now, begun.length];
    let isOver = now - search.sinceMs >= QUIET_MS;
    for (const mp of this.#unknown(found)) {
      if (!(await this.#isEmpty(key, mp))) {
        this.#foreign.add(mp);
        continue;
      }
      const seenMs = search.empty.get(mp) ?? now;
      search.empty.set(mp, seenMs);
      if (now - seenMs >= QUIET_MS) journal.add({ t: "orphan", mp, key });
      else isOver = false;
    }
    if (isOver) this.#searched(key, begun);
    else this.#lookLater();
  }

  #searched(key: string, begun: readonly Beginning[]): void {
    this.#searches.delete(key);
    this.#context.journal.add(...begun.map((beginning) => ({ t: "begun", ...beginning }) as const));
  }

  #lookLater(): void {
    if (this.#cancelLook) return;
    this.#cancelLook = this.#context.clock.after(QUIET_MS, () => {
      this.#cancelLook = undefined;
      this.kick();
    });
  }

  async #listed(key: string, begun: readonly Beginning[]): Promise<string[] | "denied"> {
    const { store, closing: signal } = this.#context;
    try {
      const uploads = await store.listMultiparts(key, { reason: "flush", signal });
      return uploads
        .filter((upload) => begun.some((beginning) => mayBeOurs(upload, beginning)))
        .map(({ uploadId }) => uploadId);
    } catch (error) {
      return this.#denied(error);
    }
  }

  /** Those that are not known to be somebody's. */
  #unknown(found: readonly string[]): string[] {
    const { files, abandoned, copying } = this.#context.journal.state;
    const known = new Set([...abandoned.keys(), ...copying.keys()]);
    for (const { multipart } of files.values()) if (multipart) known.add(multipart.mp);
    return found.filter((mp) => !known.has(mp) && !this.#foreign.has(mp));
  }

  async #isEmpty(key: string, mp: string): Promise<boolean> {
    const { store, closing: signal } = this.#context;
    try {
      return (await store.listParts(key, mp, { reason: "flush", signal })).length === 0;
    } catch (error) {
      if (HawserError.is(error, "not_found")) return false;
      this.#denied(error);
      return false;
    }
  }

  /** @throws what is no denial */
  #denied(error: unknown): "denied" {
    if (!(error instanceof HawserError) || !isFinal(error)) throw error;
    this.#context.sayOnce(
      "list_multiparts",
      "Listing uploads is denied: one that was interrupted while it began is left to the bucket's lifecycle.",
      error,
    );
    return "denied";
  }

  async #abort(key: string, mp: string): Promise<void> {
    const { store, closing: signal } = this.#context;
    try {
      await store.abortMultipart(key, mp, { reason: "flush", signal });
    } catch (error) {
      if (HawserError.is(error, "not_found")) return;
      if (!(error instanceof HawserError) || !isFinal(error)) throw error;
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
