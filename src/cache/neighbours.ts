/**
 * Prefetch across files: what opens say about the files that will be opened next.
 *
 * Files are grouped by the folder above their own, so that an epoch over many class folders is one group. An open of a
 * file that was expected (it follows one opened lately in listing order) speaks for readers that go in order, several
 * of them taking turns included; they get the next files before they open them. Opens all over the place speak for a
 * shuffled epoch; the folder is then hydrated whole, if it fits.
 */
import { LRUCache } from "lru-cache";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Bytes } from "../common/units.ts";
import type { ObjectVersion } from "./content.ts";

/** All that is below a folder. */
export interface FolderVersions {
  count: number;
  totalBytes: Bytes;
  versions(): Iterable<ObjectVersion> | AsyncIterable<ObjectVersion>;
}

/** What knows the listing: the filesystem's tree. It answers from memory and sends no request for this. */
export interface NeighbourSource {
  /** Up to `limit` versions that follow `key` in listing order, folder after folder, as far as that is known. */
  after(key: string, limit: number): readonly ObjectVersion[];
  /**
   * All versions below `prefix` (empty or ending in `/`); undefined where that is not known whole. A promise may list
   * what is missing when that is cheap beside fetching it.
   */
  folder(prefix: string): MaybePromise<FolderVersions | undefined>;
}

export interface OpenAdvice {
  /** Fetch so many files that follow. */
  next: number;
  /** Consider hydrating these folders, the narrower first. */
  hydrate: readonly string[];
}

/** Files expected after each open. */
const EXPECTED_AFTER = 8;
const EXPECTED_AT_ONCE = 512;
const GROUPS = 64;
/** How much one open moves a group's score between 0 (shuffled) and 1 (in order). */
const SCORE_STEP = 0.1;
const IN_ORDER = 0.5;
const SHUFFLED = 0.3;
const MOST_NEXT = 64;
/** Opens in a folder before it is thought of as being read whole, and again before the next thought. */
const HYDRATE_EVERY = 16;
const NO_ADVICE: OpenAdvice = { next: 0, hydrate: [] };

interface Group {
  score: number;
  /** Expected opens in a row. */
  streak: number;
  readonly expected: LRUCache<string, true>;
  opens: number;
  /** Opens by folder, of the folders seen lately. */
  readonly folders: LRUCache<string, number>;
}

/** Folder of a key with its slash, and the folder above. */
export function foldersOf(key: string): { folder: string; group: string } {
  const folder = key.slice(0, key.lastIndexOf("/") + 1);
  const group = folder.slice(0, folder.lastIndexOf("/", folder.length - 2) + 1);
  return { folder, group: folder === "" ? "" : group };
}

export class OpenLearner {
  readonly #groups = new LRUCache<string, Group>({ max: GROUPS });

  /** @param after versions that follow, for what is to be expected; asked for `EXPECTED_AFTER` */
  opened(key: string, after: (limit: number) => readonly ObjectVersion[]): OpenAdvice {
    const { folder, group: name } = foldersOf(key);
    const group = this.#group(name);
    const expected = group.expected.delete(key);
    group.score += SCORE_STEP * ((expected ? 1 : 0) - group.score);
    group.streak = expected ? group.streak + 1 : Math.floor(group.streak / 2);
    for (const version of after(EXPECTED_AFTER)) group.expected.set(version.key, true);
    group.opens++;
    const inFolder = (group.folders.get(folder) ?? 0) + 1;
    group.folders.set(folder, inFolder);
    if (group.score >= IN_ORDER) return { next: nextFiles(group.streak), hydrate: [] };
    if (group.score > SHUFFLED) return NO_ADVICE;
    const hydrate: string[] = [];
    if (inFolder % HYDRATE_EVERY === 0) hydrate.push(folder);
    if (group.opens % HYDRATE_EVERY === 0 && group.folders.size >= 4 && name !== folder) hydrate.push(name);
    return hydrate.length > 0 ? { next: 0, hydrate } : NO_ADVICE;
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = {
        score: 0,
        streak: 0,
        expected: new LRUCache({ max: EXPECTED_AT_ONCE }),
        opens: 0,
        folders: new LRUCache({ max: 256 }),
      };
      this.#groups.set(name, group);
    }
    return group;
  }
}

/** Files to fetch ahead after so many expected opens in a row. */
export function nextFiles(streak: number): number {
  return Math.min(MOST_NEXT, 4 * 2 ** Math.floor(streak / 4));
}
