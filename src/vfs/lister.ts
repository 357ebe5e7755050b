/**
 * Lister: what is known of a folder's names, for how long that may be believed, and who waits for more.
 *
 * - The first question about a folder starts its listing (`listing-runs.ts`). A request for the one name
 *   (`name-probes.ts`) follows only when the listing has not answered within 30 ms, or its first page went by without
 *   an answer.
 * - Failures are never taken for absence. A folder that cannot be refreshed because the store cannot be reached is
 *   served as it was for a bounded time; any other failure is everybody's answer for a second.
 *
 * Whoever cannot be answered waits in `#waiters`, and each page, end or failure of a run lets all of them look again.
 * Waiters pin their folder, and are answered in the same turn in which their answer became known, so that no row they
 * are given can have gone meanwhile.
 */
import { setMaxListeners } from "node:events";
import type { Clock } from "../common/clock.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { Flag } from "./inode-segment.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { ListingFailures } from "./listing-failures.ts";
import { ListingRuns } from "./listing-runs.ts";
import { NameProbes } from "./name-probes.ts";
import type { Tree } from "./tree.ts";
import type { UnreachableNotes } from "./unreachable.ts";
import { WaitList } from "./wait-list.ts";
import type { Waiter } from "./wait-list.ts";

/** How long a listing may take before one name is asked for by itself. */
const PROBE_AFTER_MS: Milliseconds = 30;
/** Pages that a reader of all names allows it: what several ranges at once can make use of. */
const PAGES_PER_READER = 32;
/** The longest time that the kernel is told to believe anything, for listings that live forever. */
const LONGEST_TTL_MS: Milliseconds = 365 * 86_400_000;

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
  readonly #waiters = new WaitList();
  readonly #failures: ListingFailures;
  readonly #runs: ListingRuns;
  readonly #probes: NameProbes;
  readonly #abort = new AbortController();

  constructor(options: ListerOptions) {
    // Every request listens on it, and a listing sends several at once.
    setMaxListeners(0, this.#abort.signal);
    this.#options = options;
    this.#tree = options.tree;
    this.#clock = options.clock;
    this.#failures = new ListingFailures(options);
    const parts = { ...options, failures: this.#failures, signal: this.#abort.signal };
    this.#runs = new ListingRuns({
      ...parts,
      isFresh: (folder) => this.isFresh(folder),
      changed: () => this.#waiters.step(),
    });
    this.#probes = new NameProbes(parts);
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
    this.#runs.ensure(folder, PAGES_PER_READER);
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
        if (!this.isFresh(folder)) this.#runs.ensureOwn(folder);
      }),
    );
    const waiter: Waiter<T> = {
      step: (answer) => {
        const value = ready();
        if (value !== undefined) answer(value);
        else this.#runs.ensure(folder, PAGES_PER_READER);
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
    if (!this.#runs.listsSubtrees) return false;
    const run = this.#runs.ensureSubtree(folder);
    this.#tree.pin(folder);
    const waiter: Waiter<boolean> = {
      step: (answer) => {
        this.#failures.throwIfHeld(folder, this.#clock.monotonic());
        if (run.state === "ended") return answer(this.#runs.listsSubtrees);
        if (!goOn(run.listedBytes)) return answer(false);
        this.#runs.proceed(run, PAGES_PER_READER);
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
    return this.#tree.isComplete(folder) && !this.isListing(folder);
  }

  isListing(folder: Row): boolean {
    return this.#runs.of(folder) !== undefined;
  }

  /** How long the kernel may believe an answer about a name in this folder (and this row, where there is one). */
  ttl(folder: Row, row: Row): Milliseconds {
    const now = this.#clock.monotonic();
    let until = this.#tree.freshUntil(folder);
    const run = this.#runs.of(folder);
    if (run) until = Math.max(until, run.requestedAt + this.#options.metadataTtlMs);
    until = Math.max(until, this.#failures.staleUntil(folder));
    if (row !== NO_ROW) until = Math.max(until, this.#probes.until(row));
    if (row !== NO_ROW && this.#tree.isLocal(row)) until = Math.max(until, this.#localUntil(row, now));
    return Math.min(LONGEST_TTL_MS, Math.max(0, until - now));
  }

  /** How long the kernel may believe what does not depend on a listing. */
  get rootTtl(): Milliseconds {
    return Math.min(LONGEST_TTL_MS, this.#options.metadataTtlMs);
  }

  /** When the oldest listing under way was begun; Infinity when there is none. */
  get oldestListing(): Milliseconds {
    return this.#probes.busy ? 0 : this.#runs.oldest;
  }

  /** Gives up what is under way: names have moved, or what was told is not to be believed. Who waits begins anew. */
  restart(): void {
    this.#runs.endAll();
    this.#probes.forgetAll();
    this.#waiters.step();
  }

  /** Forgets what is kept by row. */
  rowChanged(row: Row): void {
    this.#probes.forget(row);
    this.#failures.rowChanged(row);
  }

  /** Gives up paused runs that nobody has wanted for a lifetime, and answers that no longer hold. */
  tidy(): void {
    const now = this.#clock.monotonic();
    this.#runs.tidy();
    this.#probes.tidy(now);
    this.#failures.tidy(now);
  }

  close(): void {
    this.#abort.abort();
    this.#runs.endAll();
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
    if (known && !suspect && this.isListing(folder) && tree.isSeen(row)) return row;
    if (known && !suspect && this.#probes.until(row) > this.#clock.monotonic()) return row;
    if (!known && this.#runs.of(folder)?.isSettled(folder, name)) return NO_ROW;
    return undefined;
  }

  #lookupWaiter<T>(folder: Row, name: string, use: (row: Row) => MaybePromise<T>): Waiter<T> {
    let cancelTimer: (() => void) | undefined;
    let probing = false;
    let answerWith: ((value: MaybePromise<T>) => void) | undefined;
    const probe = (): void => {
      if (probing) return;
      probing = true;
      this.#probes
        .ask(folder, name)
        .then((row) => answerWith?.(use(row)))
        .catch((error: unknown) => this.#waiters.reject(waiter, error));
    };
    // The listing of an ancestor is given the first 30 ms, the folder's own the next, then the name is asked for.
    const hurry = (): void =>
      this.#attempt(() => {
        if (this.isListing(folder) || this.isFresh(folder)) return probe();
        this.#runs.ensureOwn(folder);
        cancelTimer = this.#clock.after(PROBE_AFTER_MS, probe);
      });
    const waiter: Waiter<T> = {
      step: (answer) => {
        answerWith = answer;
        const row = this.#answer(folder, name);
        if (row !== undefined) return answer(use(row));
        // Only a version that was found gone is asked for while its folder is fresh.
        if (this.isFresh(folder)) return probe();
        const run = this.#runs.ensure(folder);
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

  /** Runs what may throw where there is nobody to throw to: waiters meet the same failure when they look again. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch {
      this.#waiters.step();
    }
  }
}
