/**
 * WorkQueue: everything to be done in the bucket, in an order that nobody can tell from the program's.
 *
 * A work starts when it is the oldest that touches each of its keys; works on different keys run side by side. What
 * makes an object visible, or deletes one, asks for its `turn` besides: see publish-order.ts. A work keeps its place
 * until it is done or withdrawn, however often it has to be tried.
 */
import { cancellable } from "../common/cancellation.ts";
import { LARGE, holdsBack } from "./publish-order.ts";
import type { Ordered } from "./publish-order.ts";

export interface Work extends Ordered {
  readonly keys: readonly string[];
  /** Whatever it waits for by the clock, it goes on at once. */
  hasten(): void;
  /** Carries it out; resolves when it need not be thought of any more. Never rejects. */
  run(): Promise<void>;
}

interface Place {
  readonly work: Work;
  started: boolean;
  readonly over: Promise<void>;
  end(): void;
}

export class WorkQueue {
  readonly #ordered: boolean;
  readonly #byKey = new Map<string, Place[]>();
  readonly #places = new Map<Work, Place>();
  /** Unfinished works that may hold others back. */
  readonly #large = new Set<Place>();

  /** @param ordered false: works wait for nothing but their keys */
  constructor(ordered: boolean) {
    this.#ordered = ordered;
  }

  get size(): number {
    return this.#places.size;
  }

  works(): Iterable<Work> {
    return this.#places.keys();
  }

  add(work: Work): void {
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => (end = resolve));
    const place: Place = { work, started: false, over, end };
    this.#places.set(work, place);
    if (work.effect === "appear" && work.sizeBytes >= LARGE) this.#large.add(place);
    for (const key of work.keys) {
      const line = this.#byKey.get(key);
      if (line) line.push(place);
      else this.#byKey.set(key, [place]);
    }
    this.#start(place);
  }

  /** Something is to be done about this key. */
  touches(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** Takes a work out that has not started. @returns false when it has: then it has to end by itself */
  withdraw(work: Work): boolean {
    const place = this.#places.get(work);
    if (!place || place.started) return false;
    this.#finish(place);
    return true;
  }

  /** Resolves when the work is done or was withdrawn. */
  async over(work: Work): Promise<void> {
    await this.#places.get(work)?.over;
  }

  /** The oldest work that holds this one back, if any. */
  blocker(work: Ordered): Work | undefined {
    if (!this.#ordered) return undefined;
    for (const place of this.#large) {
      if (place.work !== work && holdsBack(place.work, work)) return place.work;
    }
    return undefined;
  }

  /** The works that this one waits for: those before it on its keys, and those that hold it back. */
  *before(work: Work): Iterable<Work> {
    for (const key of work.keys) {
      for (const place of this.#byKey.get(key) ?? []) {
        if (place.work === work) break;
        yield place.work;
      }
    }
    if (!this.#ordered) return;
    for (const place of this.#large) if (place.work !== work && holdsBack(place.work, work)) yield place.work;
  }

  /** Resolves when nothing holds the work back any more. @throws the signal's reason */
  async turn(work: Ordered, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const blocker = this.blocker(work);
      if (!blocker) return;
      await untilOrAborted(this.over(blocker), signal);
    }
  }

  #start(place: Place): void {
    if (place.started) return;
    for (const key of place.work.keys) if (this.#byKey.get(key)![0] !== place) return;
    place.started = true;
    void place.work.run().then(() => this.#finish(place));
  }

  #finish(place: Place): void {
    if (!this.#places.delete(place.work)) return;
    this.#large.delete(place);
    for (const key of place.work.keys) {
      const line = this.#byKey.get(key)!;
      line.splice(line.indexOf(place), 1);
      if (line.length === 0) this.#byKey.delete(key);
    }
    place.end();
    for (const key of place.work.keys) {
      const next = this.#byKey.get(key)?.[0];
      if (next) this.#start(next);
    }
  }
}

/** Resolves with the promise, or rejects with the signal's reason, whichever comes first. */
export async function untilOrAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return await cancellable(promise, signal, () => signal.reason as Error);
}
