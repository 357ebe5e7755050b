/**
 * Trails: the stretches of the listing that lie before readers.
 *
 * Each reader that goes through files in listing order is on a trail: the files behind the one it opened last, taken
 * from the listing a piece at a time. Several readers that take turns share one; a trail that meets another ends there,
 * because who comes so far is on that other one from then on. A file is *expected* when it is among the next few of a
 * trail or was fetched ahead, and *pending* until it was fetched ahead or a reader has passed it.
 */
import { LRUCache } from "lru-cache";
import type { Bytes } from "../common/units.ts";
import { MiB } from "../common/units.ts";
import type { ObjectVersion } from "./content.ts";

/**
 * Files behind the last one opened that are expected next, on a trail that has proved itself. A new trail begins with
 * the very next one: among many opens all over a folder, some come near others by chance.
 */
export const EXPECTED_AFTER = 8;
/** Readers that are followed at once. */
const MOST_TRAILS = 64;
/** Places behind the last one opened that slower readers may still be at. */
const REMEMBERED = 64;
/** Of files this large only the next few are begun ahead of their readers. */
const LARGE_FILE: Bytes = 4 * MiB;
const LARGE_AHEAD = 2;
/** Files that wait to be fetched before more of the listing is taken. */
const MOST_PENDING = 64;
/** Files taken from the listing at a time: it may turn out that another trail has them. */
const PIECE = 16;

interface Trail {
  /** Keys of the listing from index `first` on. */
  keys: string[];
  first: number;
  /** Index of the file furthest on that was opened. */
  opened: number;
  /** Expected opens so far. */
  proofs: number;
  lastKey: string;
  /** It ends where another one begins. */
  joined: boolean;
  pending: { version: ObjectVersion; at: number }[];
}

interface Place {
  trail: Trail;
  at: number;
}

/** What follows a key: `NeighbourSource.after`. */
export type After = (key: string, limit: number) => readonly ObjectVersion[];

export class Trails {
  readonly #places = new Map<string, Place>();
  readonly #trails = new LRUCache<Trail, Trail>({
    max: MOST_TRAILS,
    dispose: (trail) => this.#forget(trail, trail.keys.length),
  });

  has(key: string): boolean {
    return this.#places.has(key);
  }

  /** Follows an open. @returns the trail it is on, and whether the file was expected */
  follow(key: string): { trail: Trail; expected: boolean } {
    const place = this.#places.get(key);
    if (place === undefined) {
      const trail: Trail = {
        keys: [],
        first: 1,
        opened: 0,
        proofs: 0,
        lastKey: key,
        joined: false,
        pending: [],
      };
      this.#trails.set(trail, trail);
      return { trail, expected: false };
    }
    const { trail, at } = place;
    this.#trails.get(trail);
    this.#places.delete(key);
    const near = at - trail.opened <= Math.min(EXPECTED_AFTER, 1 + trail.proofs);
    // What was fetched ahead and is wanted was expected, however far on: another reader takes up the trail there.
    const expected = near || at < (trail.pending[0]?.at ?? Infinity);
    if (expected) trail.proofs++;
    trail.opened = Math.max(trail.opened, at);
    this.#forget(trail, trail.opened - REMEMBERED - trail.first);
    return { trail, expected };
  }

  /**
   * Takes more of the listing, when less than half of what is wanted is left before the reader.
   *
   * @param files to be fetched ahead; without, what is expected will do
   */
  extend(trail: Trail, files: number, after: After): void {
    const ahead = Math.max(files, Math.min(EXPECTED_AFTER, 2 + trail.proofs));
    const left = trail.first + trail.keys.length - 1 - trail.opened;
    if (left > ahead / 2 || trail.joined || trail.pending.length > MOST_PENDING) return;
    for (let wanted = ahead - left; wanted > 0; wanted -= PIECE) {
      const piece = after(trail.lastKey, Math.min(wanted, PIECE));
      for (const version of piece) if (!this.#append(trail, version)) return;
      if (piece.length < Math.min(wanted, PIECE)) return;
    }
  }

  /** @returns false where another trail begins */
  #append(trail: Trail, version: ObjectVersion): boolean {
    const { key } = version;
    if (this.#places.has(key)) {
      trail.joined = true;
      return false;
    }
    const at = trail.first + trail.keys.length;
    this.#places.set(key, { trail, at });
    trail.keys.push(key);
    trail.pending.push({ version, at });
    trail.lastKey = key;
    return true;
  }

  /** Offers what is pending, the nearest first, until `fetch` takes no more. */
  fetchPending(trail: Trail, fetch: (version: ObjectVersion) => boolean): void {
    let done = 0;
    for (const { version, at } of trail.pending) {
      const distance = at - trail.opened;
      if (distance > 0) {
        if (version.sizeBytes > LARGE_FILE && distance > LARGE_AHEAD) break;
        if (!fetch(version)) break;
      }
      done++;
    }
    trail.pending.splice(0, done);
  }

  /** Forgets the first places of a trail. */
  #forget(trail: Trail, count: number): void {
    if (count <= 0) return;
    for (const key of trail.keys.splice(0, count)) {
      if (this.#places.get(key)?.trail === trail) this.#places.delete(key);
    }
    trail.first += count;
  }
}
