/**
 * Listing runs: which listings are under way, and which one a question starts.
 *
 * - A folder is filled by one run at a time: its own listing, or that of an ancestor's subtree that has come to it.
 * - After three folders of one parent were listed, the parent is listed without delimiter, from its first unlisted
 *   folder on: one request a thousand keys, whatever the folders' sizes.
 * - A run may go a number of pages beyond what was asked, and every question allows it more. So the requests spent on
 *   a folder or a subtree stay in proportion to its use, and a folder of a billion keys is not listed for one name.
 *
 * Each page, end or failure of a run is told by `changed`.
 */
import type { Clock } from "../common/clock.ts";
import { toHawserError } from "../common/errors.ts";
import type { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { Word } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { ListingFailures } from "./listing-failures.ts";
import { ListingRun } from "./listing-run.ts";
import { PageSource } from "./page-source.ts";
import type { Tree } from "./tree.ts";
import type { UnreachableNotes } from "./unreachable.ts";

/** Folders of one parent that are listed one by one before the parent is listed as a whole. */
const SIBLINGS_BEFORE_SUBTREE = 3;
/** Pages that a question about a name allows a listing. */
const PAGES_PER_DEMAND = 16;

export interface ListingRunsOptions {
  tree: Tree;
  store: ObjectStore;
  clock: Clock;
  logger: Pick<Logger, "warn">;
  /** The volume's prefix, normalized. */
  prefix: string;
  metadataTtlMs: Milliseconds;
  notes: UnreachableNotes;
  failures: ListingFailures;
  /** Ends every request. */
  signal: AbortSignal;
  isFresh: (folder: Row) => boolean;
  /** Told when those who wait may find an answer. */
  changed: () => void;
}

export class ListingRuns {
  readonly #options: ListingRunsOptions;
  readonly #tree: Tree;
  readonly #clock: Clock;
  /** The run that fills a folder. */
  readonly #filling = new Map<Row, ListingRun>();
  /** Every run that has not ended. */
  readonly #active = new Set<ListingRun>();
  /** Off once the store has listed a subtree out of order. */
  #subtrees = true;

  constructor(options: ListingRunsOptions) {
    this.#options = options;
    this.#tree = options.tree;
    this.#clock = options.clock;
  }

  /** The run that fills this folder now. */
  of(folder: Row): ListingRun | undefined {
    return this.#filling.get(folder);
  }

  /** True while subtrees can be listed as wholes. */
  get listsSubtrees(): boolean {
    return this.#subtrees;
  }

  /** When the oldest run was begun; Infinity when there is none. */
  get oldest(): Milliseconds {
    let oldest = Number.POSITIVE_INFINITY;
    for (const run of this.#active) oldest = Math.min(oldest, run.begunAt);
    return oldest;
  }

  /** The run that fills the folder or will come to it; started when there is none. */
  ensure(folder: Row, pages = PAGES_PER_DEMAND): ListingRun {
    const run = this.#filling.get(folder) ?? this.#coveringRun(folder) ?? this.#startFor(folder);
    return this.#allow(run, folder, pages);
  }

  /** The same, but does not rely on a run that has yet to come to the folder. */
  ensureOwn(folder: Row): ListingRun {
    const run = this.#filling.get(folder) ?? this.#start(folder, false);
    return this.#allow(run, folder);
  }

  /** The run over everything below a folder; started when there is none that goes on. */
  ensureSubtree(folder: Row): ListingRun {
    for (const run of this.#active) {
      if (!run.recursive || run.root !== folder) continue;
      if (run.state !== "paused" || !this.#isOld(run)) return run;
      this.#end(run);
    }
    return this.#start(folder, true);
  }

  /** Lets a run go on by so many pages. */
  proceed(run: ListingRun, pages: number): void {
    run.budget = Math.max(run.budget, pages);
    if (run.state !== "paused") return;
    run.state = "running";
    void this.#drive(run);
  }

  /** Gives up paused runs that nobody has wanted for a lifetime. */
  tidy(): void {
    for (const run of this.#active) {
      if (run.state === "paused" && this.#isOld(run)) this.#end(run);
    }
  }

  /** Gives up every run. */
  endAll(): void {
    for (const run of this.#active) this.#end(run);
  }

  /** Lets a run go on for somebody who wants the folder. A run that has rested too long starts anew. */
  #allow(run: ListingRun, folder: Row, pages = PAGES_PER_DEMAND): ListingRun {
    if (run.state === "paused" && run.pages > 0 && this.#isOld(run)) {
      this.#end(run);
      return this.#allow(this.#start(folder, false), folder, pages);
    }
    this.proceed(run, pages);
    return run;
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
    this.#options.failures.throwIfHeld(folder, now);
    const path = this.#tree.path(folder);
    const prefix = path === "" ? this.#options.prefix : `${this.#options.prefix}${path}/`;
    const startAfter =
      recursive && this.#options.isFresh(folder) ? this.#beforeFirstUnlisted(folder, prefix) : undefined;
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
      }),
      lifeMs: this.#options.metadataTtlMs,
      skips: (row) => this.#filling.has(row) || this.#options.isFresh(row),
      entered: (row) => this.#filling.set(row, run),
      left: (row) => this.#filling.delete(row),
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
      if (!this.#tree.isFolder(row) || this.#tree.isDead(row) || this.#options.isFresh(row)) continue;
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
        this.#options.changed();
      }
      run.finish();
      this.#active.delete(run);
      this.#options.failures.succeeded(run.root);
    } catch (error) {
      if (run.state === "ended") return;
      this.#end(run);
      this.#failed(run, toHawserError(error));
    }
    this.#options.changed();
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
    this.#options.failures.failed(run.root, run.prefix, error);
  }

  /** Ends a run before its end. */
  #end(run: ListingRun): void {
    run.abandon();
    this.#active.delete(run);
  }
}
