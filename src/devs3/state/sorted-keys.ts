/**
 * SortedKeys: keys in UTF-8 byte order, with seek.
 *
 * S3 lists in the byte order of UTF-8. JavaScript compares UTF-16 units, which differs once surrogate pairs meet
 * U+E000 to U+FFFF. So every key has a *sort key*: its UTF-8 bytes as a latin1 string. Comparing those with `<` is
 * comparing bytes, and for ASCII keys it is the key itself, so nothing is stored twice.
 *
 * The entries live in runs of at most MAX_RUN, so that an insert moves hundreds of pointers even at a million keys.
 */

/** What the index holds: anything that has a sort key. */
export interface Sorted {
  readonly sortKey: string;
}

const MAX_RUN = 512;
// eslint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;

/** The key's UTF-8 bytes as a latin1 string. */
export function sortKeyOf(key: string): string {
  return ASCII.test(key) ? key : Buffer.from(key, "utf8").toString("latin1");
}

/** The smallest sort key above everything that starts with `prefix`; undefined for the empty prefix. */
export function afterPrefix(prefix: string): string | undefined {
  if (prefix === "") return undefined;
  // A byte is at most 0xff, so the next code unit is above all of them, and no carry is needed.
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

export class SortedKeys<T extends Sorted> {
  readonly #runs: T[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The run that holds the first entry at or above `sortKey`, and where in it. */
  #locate(sortKey: string): [run: number, index: number] {
    const runs = this.#runs;
    let low = 0;
    let high = runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const run = runs[middle]!;
      if (run[run.length - 1]!.sortKey < sortKey) low = middle + 1;
      else high = middle;
    }
    const run = runs[low];
    if (!run) return [low, 0];
    let first = 0;
    let last = run.length;
    while (first < last) {
      const middle = (first + last) >>> 1;
      if (run[middle]!.sortKey < sortKey) first = middle + 1;
      else last = middle;
    }
    return [low, first];
  }

  /** Adds an entry whose sort key is not yet present. */
  add(entry: T): void {
    this.#size++;
    const runs = this.#runs;
    let [at, index] = this.#locate(entry.sortKey);
    if (at === runs.length) {
      // Above everything: most uploads and every scan arrive in order, so append to the last run.
      if (at === 0) {
        runs.push([entry]);
        return;
      }
      at--;
      index = runs[at]!.length;
    }
    const run = runs[at]!;
    run.splice(index, 0, entry);
    if (run.length > MAX_RUN) runs.splice(at + 1, 0, run.splice(run.length >>> 1));
  }

  remove(sortKey: string): void {
    const [at, index] = this.#locate(sortKey);
    const run = this.#runs[at];
    if (run?.[index]?.sortKey !== sortKey) return;
    this.#size--;
    run.splice(index, 1);
    if (run.length === 0) this.#runs.splice(at, 1);
  }

  /** A cursor at the first entry whose sort key is at or above `sortKey`. Valid until the next add or remove. */
  seek(sortKey: string): Cursor<T> {
    return new Cursor(this.#runs, this.#locate.bind(this), sortKey);
  }
}

/** A place in the order. */
export class Cursor<T extends Sorted> {
  readonly #runs: readonly (readonly T[])[];
  readonly #locate: (sortKey: string) => [number, number];
  #run: number;
  #index: number;

  constructor(
    runs: readonly (readonly T[])[],
    locate: (sortKey: string) => [number, number],
    sortKey: string,
  ) {
    this.#runs = runs;
    this.#locate = locate;
    [this.#run, this.#index] = locate(sortKey);
  }

  get entry(): T | undefined {
    return this.#runs[this.#run]?.[this.#index];
  }

  next(): void {
    this.#index++;
    if (this.#index >= (this.#runs[this.#run]?.length ?? 0)) {
      this.#run++;
      this.#index = 0;
    }
  }

  seek(sortKey: string): void {
    [this.#run, this.#index] = this.#locate(sortKey);
  }
}
