/**
 * What waits to be sent, by rank; first in, first out within a rank.
 *
 * Lists are linked through the entries themselves, so that promoting and cancelling one of thousands costs nothing and
 * nothing is allocated. An entry is in at most one list.
 */
import type { Rank } from "./rank.ts";

/** What a queue needs of its entries; the queue alone writes these fields. */
export interface Queued {
  rank: Rank;
  queued: boolean;
  previous: Queued | undefined;
  next: Queued | undefined;
}

interface List {
  first: Queued | undefined;
  last: Queued | undefined;
}

export class RankedQueue<T extends Queued> {
  readonly #lists: [List, List, List] = [empty(), empty(), empty()];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(entry: T): void {
    const list = this.#lists[entry.rank];
    entry.queued = true;
    entry.previous = list.last;
    entry.next = undefined;
    if (list.last) list.last.next = entry;
    else list.first = entry;
    list.last = entry;
    this.#size++;
  }

  /** To the front of its rank: for what was sent once and failed. */
  unshift(entry: T): void {
    const list = this.#lists[entry.rank];
    entry.queued = true;
    entry.previous = undefined;
    entry.next = list.first;
    if (list.first) list.first.previous = entry;
    else list.last = entry;
    list.first = entry;
    this.#size++;
  }

  first(rank: Rank): T | undefined {
    return this.#lists[rank].first as T | undefined;
  }

  /** No-op when it is not queued. */
  remove(entry: T): void {
    if (!entry.queued) return;
    const list = this.#lists[entry.rank];
    if (entry.previous) entry.previous.next = entry.next;
    else list.first = entry.next;
    if (entry.next) entry.next.previous = entry.previous;
    else list.last = entry.previous;
    entry.queued = false;
    entry.previous = undefined;
    entry.next = undefined;
    this.#size--;
  }

  /** Gives an entry, queued or not, another rank; a queued one goes to the end of it. */
  promote(entry: T, rank: Rank): void {
    if (!entry.queued) {
      entry.rank = rank;
      return;
    }
    this.remove(entry);
    entry.rank = rank;
    this.push(entry);
  }
}

function empty(): List {
  return { first: undefined, last: undefined };
}
