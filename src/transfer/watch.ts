/**
 * Watching a prefix: what is new, changed or gone, found by listing it again and again.
 *
 * What exists at the start is not reported. An object is changed when its ETag, size or time is another one.
 */
import { setTimeout } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";
import type { ListedObject } from "../store/object-store.ts";
import { isFatal } from "./job.ts";

export interface WatchEvent {
  type: "new" | "changed" | "removed";
  key: string;
  /** Absent for what is gone. */
  sizeBytes?: Bytes;
  mtimeMs?: EpochMs;
  etag?: string;
}

/** What tells one state of an object from another, by key. */
export type Snapshot = Map<string, string>;

export interface WatchOptions {
  intervalMs: Milliseconds;
  signal?: AbortSignal | undefined;
  /** Told of a listing that failed; the next is tried. */
  onError?: ((error: HawserError) => void) | undefined;
  /** Told when what is there has been seen, and what happens from now on is reported. */
  onReady?: ((objects: number) => void) | undefined;
}

/** Compares a listing with the one before. @returns events in the order of the listing, what is gone last */
export function compareListing(
  before: Snapshot,
  listing: Iterable<ListedObject>,
): { events: WatchEvent[]; after: Snapshot } {
  const events: WatchEvent[] = [];
  const after: Snapshot = new Map();
  for (const { key, sizeBytes, mtimeMs, etag } of listing) {
    const state = `${etag} ${sizeBytes} ${mtimeMs}`;
    const known = before.get(key);
    after.set(key, state);
    if (known === state) continue;
    events.push({ type: known === undefined ? "new" : "changed", key, sizeBytes, mtimeMs, etag });
  }
  for (const key of before.keys()) if (!after.has(key)) events.push({ type: "removed", key });
  return { events, after };
}

/**
 * Events without end, until the signal.
 *
 * @param list gives what is watched, by the page
 * @throws what the first listing, or a bucket that is gone, answers with
 */
export async function* watch(
  list: () => AsyncIterable<ListedObject[]>,
  options: WatchOptions,
): AsyncGenerator<WatchEvent> {
  const { intervalMs, signal, onError, onReady } = options;
  let { after: snapshot } = compareListing(new Map(), await collect(list()));
  onReady?.(snapshot.size);
  while (await slept(intervalMs, signal)) {
    let listing: ListedObject[];
    try {
      listing = await collect(list());
    } catch (error) {
      if (signal?.aborted) return;
      if (!HawserError.is(error) || isFatal(error)) throw error;
      onError?.(error);
      continue;
    }
    const { events, after } = compareListing(snapshot, listing);
    snapshot = after;
    yield* events;
  }
}

async function collect(pages: AsyncIterable<ListedObject[]>): Promise<ListedObject[]> {
  const all: ListedObject[] = [];
  for await (const page of pages) for (const object of page) all.push(object);
  return all;
}

/** False when the signal ended it. */
async function slept(ms: Milliseconds, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await setTimeout(ms, undefined, signal ? { signal } : {});
    return signal?.aborted !== true;
  } catch {
    return false;
  }
}
