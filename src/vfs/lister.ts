/**
 * Lister: which listing to send for what was asked, and who waits for it.
 *
 * - The first question about a folder starts its listing. A request for the one name follows only when the listing has
 *   not answered within 30 ms, or its first page went by without an answer.
 * - After three folders of one parent were listed, the parent is listed without delimiter, from its first unlisted
 *   folder on: one request a thousand keys, whatever the folders' sizes.
 * - A run may go a number of pages beyond what was asked, and every question allows it more. So the requests spent on
 *   a folder or a subtree stay in proportion to its use, and a folder of a billion keys is not listed for one name.
 * - Failures are never taken for absence. A folder that cannot be refreshed because the store cannot be reached is
 *   served as it was for a bounded time; any other failure is everybody's answer for a second.
 *
 * Whoever cannot be answered waits in `#waiters`, and each page, end or failure of a run lets all of them look again.
 * Waiters pin their folder, and are answered in the same turn in which their answer became known, so that no row they
 * are given can have gone meanwhile.
 */
import { setMaxListeners } from "node:events";
import type { Clock } from "../common/clock.ts";
import { toHawserError } from "../common/errors.ts";
import type { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { Flag, Word } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { ListingFailures } from "./listing-failures.ts";
import { ListingRun } from "./listing-run.ts";
import { PageSource } from "./page-source.ts";
import { probeName } from "./probe.ts";
import type { Tree } from "./tree.ts";
import type { UnreachableNotes } from "./unreachable.ts";
import { WaitList } from "./wait-list.ts";
import type { Waiter } from "./wait-list.ts";

/** How long a listing may take before one name is asked for by itself. */
export const PROBE_AFTER_MS: Milliseconds = 30;
/** Folders of one parent that are listed one by one before the parent is listed as a whole. */
export const SIBLINGS_BEFORE_SUBTREE = 3;
/** Pages that a question about a name allows a listing. */
export const PAGES_PER_DEMAND = 16;
/** Pages that a reader of all names allows it: what several ranges at once can make use of. */
const PAGES_PER_READER = 32;
/** The longest time that the kernel is told to believe anything, for listings that live forever. */
export const LONGEST_TTL_MS: Milliseconds = 365 * 86_400_000;

export interface ListerOptions {
  tree: Tree;
  store: ObjectStore;
  clock: Clock;
  logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  /** The volume's prefix, normalized. */
  prefix: string;
  /** How long a listing may be believed; Infinity: forever. */
  metadataTtlMs: Milliseconds;
  /** How long beyond that, while the store cannot be reached. */
  staleForMs: Milliseconds;
  notes: UnreachableNotes;
}

export class Lister {
  readonly #options: ListerOptions;
  readonly #tree: Tree;
  readonly #clock: Clock;
  /** The run that fills a folder. */
  readonly #runs = new Map<Row, ListingRun>();
  /** Every run that has not ended. */
  readonly #active = new Set<ListingRun>();
  readonly #waiters = new WaitList();
  readonly #failures: ListingFailures;
  /** Names asked for one by one: until when the answer holds. */
  readonly #probed = new Map<Row, Milliseconds>();
  readonly #probes = new Map<string, Promise<void>>();
  readonly #abort = new AbortController();
  /** Off once the store has listed a subtree out of order. */
  #subtrees = true;

  constructor(options: ListerOptions) {
    // Every request listens on it, and a listing sends several at once.
    setMaxListeners(0, this.#abort.signal);
    this.#options = options;
    this.#tree = options.tree;
    this.#clock = options.clock;
    this.#failures = new ListingFailures(options);
  }

  // ---- questions ----

  /**
   * Calls `use` with the row of a name, or none where there is no such name, as soon as that is certain.
   *
   * @throws HawserError the listing's failure, `interrupted`, `closed`
   */
  lookup<T>(
    folder: Row,
    name: string,
    signal: () => AbortSignal,
    use: (row: Row) => MaybePromise<T>,
  ): MaybePromise<T> {
    const row = this.#answer(folder, name);
    if (row !== undefined) return use(row);
    return this.#waiters.wait(this.#lookupWaiter(folder, name, use), signal());
  }

  /** Starts or continues what a reader of the folder needs. @throws HawserError when it failed just now */
  demand(folder: Row): void {
    if (this.isFresh(folder)) return;
    this.#ensureRun(folder, PAGES_PER_READER);
  }

  /**
   * Resolves when `ready` first returns something, which is tried after every page.
   *
   * @throws HawserError the listing's failure, `interrupted`, `closed`
   */
  waitFor<T>(folder: Row, signal: AbortSignal, ready: () => T | undefined): Promise<T> {
    this.#tree.pin(folder);
    const cancelTimer = this.#clock.after(PROBE_AFTER_MS, () =>
      this.#attempt(() => {
        if (!this.isFresh(folder)) this.#ensureOwnRun(folder);
      }),
    );
    const waiter: Waiter<T> = {
      step: (answer) => {
        const value = ready();
        if (value !== undefined) answer(value);
        else this.#ensureRun(folder, PAGES_PER_READER);
      },
      done: () => {
        cancelTimer();
        this.#tree.unpin(folder);
      },
    };
    return this.#waiters.wait(waiter, signal);
  }

  /**
   * Lists what is not fresh below a folder, for somebody who wants all of it.
   *
   * @param goOn asked after every page with the bytes of the objects that this listing has told of
   * @returns false when `goOn` said no, or when the store cannot list subtrees
   * @throws HawserError the listing's failure, `interrupted`, `closed`
   */
  async listBelow(folder: Row, signal: AbortSignal, goOn: (listedBytes: Bytes) => boolean): Promise<boolean> {
    if (!this.#subtrees) return false;
    const run = this.#subtreeRun(folder);
    this.#tree.pin(folder);
    const waiter: Waiter<boolean> = {
      step: (answer) => {
        this.#failures.throwIfHeld(folder, this.#clock.monotonic());
        if (run.state === "ended") return answer(this.#subtrees);
        if (!goOn(run.listedBytes)) return answer(false);
        this.#proceed(run, PAGES_PER_READER);
      },
      done: () => this.#tree.unpin(folder),
    };
    return this.#waiters.wait(waiter, signal);
  }

  /**
   * Resolves when all names of a folder are known: it is fresh, or it was listed to its end since the call.
   *
   * @throws as `waitFor`
   */
  async whole(folder: Row, signal: AbortSignal): Promise<void> {
    const since = this.#clock.monotonic();
    const isWhole = (): boolean => {
      if (!this.#tree.isAttached(folder) || this.isFresh(folder)) return true;
      return this.isWhole(folder) && this.#tree.freshUntil(folder) - this.#options.metadataTtlMs >= since;
    };
    if (!isWhole()) await this.waitFor(folder, signal, () => (isWhole() ? true : undefined));
  }

  /** True when the folder's listing may be believed as it is. */
  isFresh(folder: Row): boolean {
    const now = this.#clock.monotonic();
    return (
      this.#tree.freshUntil(folder) > now ||
      (this.#tree.isComplete(folder) && this.#failures.servesStale(folder, now))
    );
  }

  /** True when nothing more will come for readers of this folder, fresh or not. */
  isWhole(folder: Row): boolean {
    return this.#tree.isComplete(folder) && !this.#runs.has(folder);
  }

  isListing(folder: Row): boolean {
    return this.#runs.has(folder);
  }

  /** How long the kernel may believe an answer about a name in this folder (and this row, where there is one). */
  ttl(folder: Row, row: Row): Milliseconds {
    const now = this.#clock.monotonic();
    let until = this.#tree.freshUntil(folder);
    const run = this.#runs.get(folder);
    if (run) until = Math.max(until, run.requestedAt + this.#options.metadataTtlMs);
    until = Math.max(until, this.#failures.staleUntil(folder));
    if (row !== NO_ROW) until = Math.max(until, this.#probed.get(row) ?? 0);
    if (row !== NO_ROW && this.#tree.isLocal(row)) until = Math.max(until, this.#localUntil(row, now));
    return Math.min(LONGEST_TTL_MS, Math.max(0, until - now));
  }

  /** How long the kernel may believe what does not depend on a listing. */
  get rootTtl(): Milliseconds {
    return Math.min(LONGEST_TTL_MS, this.#options.metadataTtlMs);
  }

  /** When the oldest listing under way was begun; Infinity when there is none. */
  get oldestListing(): Milliseconds {
    let oldest = Number.POSITIVE_INFINITY;
    for (const run of this.#active) oldest = Math.min(oldest, run.begunAt);
    return this.#probes.size > 0 ? 0 : oldest;
  }

  /** Gives up what is under way: names have moved, or what was told is not to be believed. Who waits begins anew. */
  restart(): void {
    for (const run of this.#active) this.#end(run);
    this.#probed.clear();
    this.#waiters.step();
  }

  /** Forgets what is kept by row. */
  rowChanged(row: Row): void {
    if (this.#probed.size > 0) this.#probed.delete(row);
    this.#failures.rowChanged(row);
  }

  /** Gives up paused runs that nobody has wanted for a lifetime, and answers that no longer hold. */
  tidy(): void {
    const now = this.#clock.monotonic();
    for (const run of this.#active) {
      if (run.state === "paused" && this.#isOld(run)) this.#end(run);
    }
    for (const [row, until] of this.#probed) {
      if (until <= now) this.#probed.delete(row);
    }
    this.#failures.tidy(now);
  }

  close(): void {
    this.#abort.abort();
    for (const run of this.#active) this.#end(run);
    this.#waiters.close();
  }

  // ---- answers ----

  /** Until when what was written here is the answer: a lifetime from when the bucket had it, no end while it is pending. */
  #localUntil(row: Row, now = this.#clock.monotonic()): Milliseconds {
    const since = this.#tree.isPending(row) ? now : this.#tree.settledAt(row)!;
    // A lifetime without end does not outweigh a doubt.
    return since === Number.NEGATIVE_INFINITY ? since : since + this.#options.metadataTtlMs;
  }

  /** The row of a name, none when there is certainly no such name, undefined when that is not known. */
  #answer(folder: Row, name: string): Row | undefined {
    const tree = this.#tree;
    if (!tree.isAttached(folder)) return NO_ROW;
    const row = tree.find(folder, name);
    const known = row !== NO_ROW && !tree.isDead(row);
    if (!known && tree.isRemoved(folder, name)) return NO_ROW;
    if (known && tree.isLocal(row) && this.#localUntil(row) > this.#clock.monotonic()) return row;
    const suspect = known && !tree.isFolder(row) && tree.table.has(row, Flag.suspect);
    if (!suspect && this.isFresh(folder)) return known ? row : NO_ROW;
    if (known && !suspect && this.#runs.has(folder) && tree.isSeen(row)) return row;
    if (known && !suspect && (this.#probed.get(row) ?? 0) > this.#clock.monotonic()) return row;
    if (!known && this.#runs.get(folder)?.isSettled(folder, name)) return NO_ROW;
    return undefined;
  }

  #lookupWaiter<T>(folder: Row, name: string, use: (row: Row) => MaybePromise<T>): Waiter<T> {
    let cancelTimer: (() => void) | undefined;
    let probing = false;
    let answerWith: ((value: MaybePromise<T>) => void) | undefined;
    const probe = (): void => {
      if (probing) return;
      probing = true;
      this.#probe(folder, name)
        .then((row) => answerWith?.(use(row)))
        .catch((error: unknown) => this.#waiters.reject(waiter, error));
    };
    // The listing of an ancestor is given the first 30 ms, the folder's own the next, then the name is asked for.
    const hurry = (): void =>
      this.#attempt(() => {
        if (this.#runs.has(folder) || this.isFresh(folder)) return probe();
        this.#ensureOwnRun(folder);
        cancelTimer = this.#clock.after(PROBE_AFTER_MS, probe);
      });
    const waiter: Waiter<T> = {
      step: (answer) => {
        answerWith = answer;
        const row = this.#answer(folder, name);
        if (row !== undefined) return answer(use(row));
        // Only a version that was found gone is asked for while its folder is fresh.
        if (this.isFresh(folder)) return probe();
        const run = this.#ensureRun(folder);
        if (run.root === folder && run.pages > 0) probe();
      },
      done: () => {
        cancelTimer?.();
        answerWith = undefined;
        this.#tree.unpin(folder);
      },
    };
    this.#tree.pin(folder);
    cancelTimer = this.#clock.after(PROBE_AFTER_MS, hurry);
    return waiter;
  }

  // ---- runs ----

  /** The run that fills the folder or will come to it; started when there is none. */
  #ensureRun(folder: Row, pages = PAGES_PER_DEMAND): ListingRun {
    const run = this.#runs.get(folder) ?? this.#coveringRun(folder) ?? this.#startFor(folder);
    return this.#allow(run, folder, pages);
  }

  /** The same, but does not rely on a run that has yet to come to the folder. */
  #ensureOwnRun(folder: Row): ListingRun {
    const run = this.#runs.get(folder) ?? this.#start(folder, false);
    return this.#allow(run, folder);
  }

  /** Lets a run go on for somebody who wants the folder. A run that has rested too long starts anew. */
  #allow(run: ListingRun, folder: Row, pages = PAGES_PER_DEMAND): ListingRun {
    if (run.state === "paused" && run.pages > 0 && this.#isOld(run)) {
      this.#end(run);
      return this.#allow(this.#start(folder, false), folder, pages);
    }
    this.#proceed(run, pages);
    return run;
  }

  #proceed(run: ListingRun, pages: number): void {
    run.budget = Math.max(run.budget, pages);
    if (run.state !== "paused") return;
    run.state = "running";
    void this.#drive(run);
  }

  /** The run over everything below a folder; started when there is none that goes on. */
  #subtreeRun(folder: Row): ListingRun {
    for (const run of this.#active) {
      if (!run.recursive || run.root !== folder) continue;
      if (run.state !== "paused" || !this.#isOld(run)) return run;
      this.#end(run);
    }
    return this.#start(folder, true);
  }

  #isOld(run: ListingRun): boolean {
    return this.#clock.monotonic() - run.requestedAt > this.#options.metadataTtlMs;
  }

  #coveringRun(folder: Row): ListingRun | undefined {
    if (this.#active.size === 0) return undefined;
    const path = this.#tree.path(folder);
    for (const run of this.#active) {
      if (!run.recursive) continue;
      const root = this.#tree.path(run.root);
      const below = root === "" ? path : path.startsWith(`${root}/`) ? path.slice(root.length + 1) : "";
      if (below !== "" && run.willReach(below)) return run;
    }
    return undefined;
  }

  /** Starts the folder's own listing, or its parent's subtree when enough siblings were listed one by one. */
  #startFor(folder: Row): ListingRun {
    const table = this.#tree.table;
    const parent = this.#tree.parent(folder);
    if (folder === ROOT_ROW || parent === NO_ROW || !this.#subtrees) return this.#start(folder, false);
    // One that is under way but has passed this folder, or a folder whose own turn has come.
    for (const run of this.#active)
      if (run.recursive && run.root === parent) return this.#start(folder, false);
    const listed = table.get(parent, Word.listedChildren);
    if (listed < SIBLINGS_BEFORE_SUBTREE) {
      table.set(parent, Word.listedChildren, listed + 1);
      return this.#start(folder, false);
    }
    table.set(parent, Word.listedChildren, 0);
    return this.#start(parent, true);
  }

  #start(folder: Row, recursive: boolean): ListingRun {
    const now = this.#clock.monotonic();
    this.#failures.throwIfHeld(folder, now);
    const path = this.#tree.path(folder);
    const prefix = path === "" ? this.#options.prefix : `${this.#options.prefix}${path}/`;
    const startAfter =
      recursive && this.isFresh(folder) ? this.#beforeFirstUnlisted(folder, prefix) : undefined;
    const run = new ListingRun({
      tree: this.#tree,
      root: folder,
      prefix,
      recursive,
      startAfter,
      source: new PageSource({
        ...this.#options,
        prefix,
        delimiter: recursive ? undefined : "/",
        startAfter,
        signal: this.#abort.signal,
      }),
      lifeMs: this.#options.metadataTtlMs,
      skips: (row) => this.#runs.has(row) || this.isFresh(row),
      entered: (row) => this.#runs.set(row, run),
      left: (row) => this.#runs.delete(row),
      unreachable: (key, reason) => this.#options.notes.add(key, reason),
    });
    run.begunAt = now;
    run.requestedAt = now;
    this.#active.add(run);
    run.begin();
    return run;
  }

  /** The key just before everything in the first folder that needs listing. */
  #beforeFirstUnlisted(folder: Row, prefix: string): string | undefined {
    for (let row = this.#tree.firstChild(folder); row !== NO_ROW; row = this.#tree.nextSibling(row)) {
      if (!this.#tree.isFolder(row) || this.#tree.isDead(row) || this.isFresh(row)) continue;
      return prefix + this.#tree.table.name(row);
    }
    return undefined;
  }

  /** Fetches pages until the end, a failure, or nobody wants more. Never rejects. */
  async #drive(run: ListingRun): Promise<void> {
    const { source } = run;
    try {
      for (;;) {
        if (run.budget <= 0) {
          run.state = "paused";
          return;
        }
        run.budget--;
        const next = await source.next(run.budget + 1);
        if (run.state === "ended") return;
        if (next === undefined) break;
        run.takePage(next.page, next.requestedAt);
        if (source.ended) break;
        this.#waiters.step();
      }
      run.finish();
      this.#active.delete(run);
      this.#failures.succeeded(run.root);
    } catch (error) {
      if (run.state === "ended") return;
      this.#end(run);
      this.#failed(run, toHawserError(error));
    }
    this.#waiters.step();
  }

  #failed(run: ListingRun, error: HawserError): void {
    if (error.code === "not_supported_by_store" && run.recursive) {
      this.#subtrees = false;
      this.#options.logger.warn(
        { prefix: run.prefix },
        "The store lists keys out of order; folders are listed one by one.",
      );
      return;
    }
    this.#failures.failed(run.root, run.prefix, error);
  }

  /** Ends a run before its end. */
  #end(run: ListingRun): void {
    run.abandon();
    this.#active.delete(run);
  }

  /** Runs what may throw where there is nobody to throw to: waiters meet the same failure when they look again. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch {
      this.#waiters.step();
    }
  }

  // ---- single names ----

  /** Asks for one name. Questions for the same name share the request. */
  async #probe(folder: Row, name: string): Promise<Row> {
    const path = this.#tree.path(folder);
    const key = `${this.#options.prefix}${path === "" ? "" : `${path}/`}${name}`;
    let probe = this.#probes.get(key);
    if (probe === undefined) {
      probe = this.#sendProbe(folder, name, key).finally(() => this.#probes.delete(key));
      this.#probes.set(key, probe);
    }
    await probe;
    const row = this.#tree.find(folder, name);
    return row !== NO_ROW && !this.#tree.isDead(row) ? row : NO_ROW;
  }

  async #sendProbe(folder: Row, name: string, key: string): Promise<void> {
    const tree = this.#tree;
    const since = this.#clock.monotonic();
    const until = since + this.#options.metadataTtlMs;
    tree.pin(folder);
    try {
      const found = await probeName(this.#options.store, key, this.#abort.signal);
      if (!tree.isAttached(folder)) return;
      if (found === undefined) {
        const row = tree.find(folder, name);
        if (row !== NO_ROW && !tree.isDead(row) && tree.mayRetire(folder, row, since)) tree.retire(row);
        return;
      }
      const row =
        found === "folder" ? tree.putFolder(folder, name, since) : tree.putFile(folder, name, found, since);
      if (row !== NO_ROW) this.#probed.set(row, until);
    } catch (error) {
      throw this.#failures.translate(toHawserError(error), key);
    } finally {
      tree.unpin(folder);
    }
  }
}
