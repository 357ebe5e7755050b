/**
 * Page source: the pages of one listing in order, several parts of it asked for at once.
 *
 * A listing begins as one range and is read page by page. Once it has proved long, its far end is split at guessed keys
 * (`nameAhead`), and the ranges are listed at the same time; no more of them than pages were read, so that a listing spends
 * at most half of its requests on guesses. Ranges are disjoint and leave no gap: a range ends with its last key
 * included, the next starts behind the same key; and a split is never inside a folder, because it contains no slash
 * that the listing would fold. So every key that is there all the while is told exactly once, in order.
 *
 * Nothing is asked for while nobody calls `next`.
 */
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { compareKeys } from "../store/key-order.ts";
import type { ListPage, ObjectStore } from "../store/object-store.ts";
import { nameAhead } from "./key-split.ts";

/** Ranges listed at once. Stores bear it easily, and a page of a thousand keys takes long to parse. */
const MOST_RANGES = 8;
/** Pages read before the first split: most listings are shorter. */
const PAGES_BEFORE_SPLIT = 4;
/** Pages that a range is meant to have: small, because pages wait in memory until those before them have come. */
const PAGES_PER_RANGE = 4;
/** Pages that wait in memory or are on their way. */
const MOST_AHEAD = 32;

export interface PageSourceOptions {
  store: ObjectStore;
  clock: Clock;
  prefix: string;
  delimiter: "/" | undefined;
  startAfter: string | undefined;
  signal: AbortSignal;
}

export interface OrderedPage {
  page: ListPage;
  /** When it was asked for, on the monotonic clock. */
  requestedAt: Milliseconds;
}

interface Range {
  after: string | undefined;
  /** The last key that belongs to it; undefined for the far end. */
  through: string | undefined;
  /** The last key told so far. */
  position: string | undefined;
  token: string | undefined;
  pages: OrderedPage[];
  asking: boolean;
  done: boolean;
  failure: unknown;
}

export class PageSource {
  readonly #options: PageSourceOptions;
  /** In order; together all that is left of the listing. */
  readonly #ranges: Range[] = [];
  /** Names of the page furthest on. */
  #names: readonly string[] = [];
  #pages = 0;
  #waiting = 0;
  #asking = 0;
  #ordered = true;
  #arrived: (() => void) | undefined;

  constructor(options: PageSourceOptions) {
    this.#options = options;
    this.#ranges.push(newRange(options.startAfter, undefined));
  }

  /** True when `next` would have no page. May be false although nothing will come. */
  get ended(): boolean {
    const [range] = this.#ranges;
    return range === undefined || (this.#ranges.length === 1 && range.done && range.pages.length === 0);
  }

  /**
   * The next page; undefined behind the last. One call at a time.
   *
   * @param wanted pages that somebody wants, this one included: no more are asked for ahead
   * @throws what the store answers with
   */
  async next(wanted: number): Promise<OrderedPage | undefined> {
    for (;;) {
      const range = this.#ranges[0];
      if (range === undefined) return undefined;
      const page = range.pages.shift();
      if (page !== undefined) {
        this.#pages++;
        this.#waiting--;
        // One range is asked page by page; several go on while pages are taken.
        if (this.#ranges.length > 1) this.#askMore(wanted - 1);
        return page;
      }
      if (range.failure !== undefined) throw range.failure;
      if (range.done) {
        this.#ranges.shift();
        continue;
      }
      const arrived = new Promise<void>((resolve) => (this.#arrived = resolve));
      this.#askMore(wanted);
      await arrived;
    }
  }

  #askMore(wanted: number): void {
    this.#split(wanted);
    const most = Math.min(wanted, MOST_AHEAD);
    for (const [at, range] of this.#ranges.entries()) {
      if (range.asking || range.done || range.failure !== undefined) continue;
      if (at > 0 && this.#waiting + this.#asking >= most) return;
      void this.#ask(range);
    }
  }

  /** Adds ranges at the far end, as many as the pages read so far justify. */
  #split(wanted: number): void {
    if (!this.#ordered || this.#pages < PAGES_BEFORE_SPLIT) return;
    const most = Math.min(MOST_RANGES, this.#pages, wanted);
    while (this.#ranges.length < most) {
      const last = this.#ranges.at(-1)!;
      if (last.done || last.failure !== undefined) return;
      const at = this.#splitPoint(last.position);
      if (at === undefined) return;
      last.through = at;
      this.#ranges.push(newRange(at, undefined));
    }
  }

  /** A key behind `position`, up to which the far end has been told. */
  #splitPoint(position: string | undefined): string | undefined {
    const { prefix } = this.#options;
    const reached = this.#names.at(-1);
    if (reached === undefined) return undefined;
    const told = position?.slice(prefix.length).replace(/\/$/, "") ?? "";
    const from = compareKeys(told, reached) > 0 ? told : reached;
    const name = nameAhead(this.#names, from, PAGES_PER_RANGE * this.#names.length);
    if (name === undefined) return undefined;
    const key = prefix + name;
    return position === undefined || compareKeys(key, position) > 0 ? key : undefined;
  }

  async #ask(range: Range): Promise<void> {
    const { store, clock, prefix, delimiter, signal } = this.#options;
    range.asking = true;
    this.#asking++;
    const requestedAt = clock.monotonic();
    const { token } = range;
    try {
      const page = await store.list(
        {
          prefix,
          delimiter,
          continuationToken: token,
          startAfter: token === undefined ? range.after : undefined,
        },
        { reason: "metadata", signal },
      );
      if (page.nextToken !== undefined && page.nextToken === token)
        throw new HawserError("store_failed", `The store repeats itself listing '${prefix}'.`);
      this.#take(range, page, requestedAt);
    } catch (error) {
      range.failure = error;
    }
    range.asking = false;
    this.#asking--;
    this.#arrived?.();
  }

  #take(range: Range, page: ListPage, requestedAt: Milliseconds): void {
    range.token = page.nextToken;
    const own = pageWithin(page, range.after, range.through);
    range.position = lastKey(own.page) ?? range.position;
    range.done = page.nextToken === undefined || own.cut;
    this.#learn(page);
    if (own.page.objects.length === 0 && own.page.prefixes.length === 0) return;
    range.pages.push({ page: own.page, requestedAt });
    this.#waiting++;
  }

  /** Keeps the names of the page furthest on. A store that lists out of order is read from one end. */
  #learn(page: ListPage): void {
    const { prefix } = this.#options;
    const names = namesOf(page, prefix);
    if (!isAscending(names)) this.#ordered = false;
    const last = names.at(-1);
    const reached = this.#names.at(-1);
    if (last === undefined || names.length < this.#names.length / 2) return;
    if (reached === undefined || compareKeys(last, reached) > 0) this.#names = names;
  }
}

function newRange(after: string | undefined, through: string | undefined): Range {
  return {
    after,
    through,
    position: after,
    token: undefined,
    pages: [],
    asking: false,
    done: false,
    failure: undefined,
  };
}

/** What of a page lies in a range, and whether something lay behind it. */
function pageWithin(
  page: ListPage,
  after: string | undefined,
  through: string | undefined,
): { page: ListPage; cut: boolean } {
  const last = lastKey(page);
  const first = firstKey(page);
  const begins = after === undefined || first === undefined || compareKeys(first, after) > 0;
  const ends = through === undefined || last === undefined || compareKeys(last, through) <= 0;
  if (begins && ends) return { page, cut: false };
  // A store that does not know StartAfter tells everything from the start.
  const inside = (key: string): boolean =>
    (after === undefined || compareKeys(key, after) > 0) &&
    (through === undefined || compareKeys(key, through) <= 0);
  const objects = page.objects.filter(({ key }) => inside(key));
  return { page: { objects, prefixes: page.prefixes.filter(inside) }, cut: !ends };
}

function lastKey({ objects, prefixes }: ListPage): string | undefined {
  return furthest(objects.at(-1)?.key, prefixes.at(-1), 1);
}

function firstKey({ objects, prefixes }: ListPage): string | undefined {
  return furthest(objects[0]?.key, prefixes[0], -1);
}

function furthest(a: string | undefined, b: string | undefined, sign: 1 | -1): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareKeys(a, b) * sign > 0 ? a : b;
}

/** Names of objects and folders below the prefix; of the more numerous kind, so that they are in order. */
function namesOf({ objects, prefixes }: ListPage, prefix: string): string[] {
  if (objects.length >= prefixes.length) return objects.map(({ key }) => key.slice(prefix.length));
  return prefixes.map((key) => key.slice(prefix.length, -1));
}

function isAscending(names: readonly string[]): boolean {
  for (let at = 1; at < names.length; at++) if (compareKeys(names[at - 1]!, names[at]!) >= 0) return false;
  return true;
}
