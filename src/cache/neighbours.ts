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
import { EXPECTED_AFTER, Trails } from "./trails.ts";
import type { After } from "./trails.ts";

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
   * All versions below `prefix` (empty or ending in `/`); undefined where that is not known whole, or more than
   * `mostBytes`. A promise may list what is missing when that is cheap beside fetching it.
   */
  folder(prefix: string, mostBytes?: Bytes): MaybePromise<FolderVersions | undefined>;
}

const GROUPS = 64;
/** How much one open moves a group's score between 0 (shuffled) and 1 (in order). */
const SCORE_STEP = 0.1;
const IN_ORDER = 0.6;
/** A shuffled epoch over a thousand files meets what follows one of many other opens by chance. */
const SHUFFLED = 0.5;
/** A round trip of 100 ms at thousands of files a second. */
const MOST_NEXT = 512;
/**
 * Opens before a folder is thought of as being read whole: 16 readers in order have by then shown that they are. The
 * next thought comes after as many again.
 */
const HYDRATE_FROM = 32;
/** Folders that are read at once before the folder above them is thought of. */
const FOLDERS_OF_GROUP = 4;

interface Group {
  score: number;
  /** Expected opens in a row. */
  streak: number;
  readonly trails: Trails;
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

  /** True when a reader is on its way to this file: its open tells how far the reader is. */
  awaits(key: string): boolean {
    return this.#groups.get(foldersOf(key).group)?.trails.has(key) ?? false;
  }

  /**
   * Learns from an open.
   *
   * @param fetch asked to fetch the files that follow, nearest first, while readers go in order; it says false when it
   *   can take no more, and is asked for the rest later
   * @returns folders to consider hydrating, the narrower first
   */
  opened(key: string, after: After, fetch: (version: ObjectVersion) => boolean): readonly string[] {
    const { folder, group: name } = foldersOf(key);
    const group = this.#group(name);
    const { trail, expected } = group.trails.follow(key);
    group.score += SCORE_STEP * ((expected ? 1 : 0) - group.score);
    group.streak = expected ? group.streak + 1 : Math.floor(group.streak / 2);
    group.opens++;
    const inFolder = (group.folders.get(folder) ?? 0) + 1;
    group.folders.set(folder, inFolder);
    const inOrder = group.score >= IN_ORDER;
    group.trails.extend(trail, inOrder ? nextFiles(group.streak) : 0, after);
    if (inOrder) group.trails.fetchPending(trail, fetch);
    if (group.score > SHUFFLED) return [];
    const hydrate: string[] = [];
    if (isDoubling(inFolder)) hydrate.push(folder);
    if (isDoubling(group.opens) && group.folders.size >= FOLDERS_OF_GROUP && name !== folder)
      hydrate.push(name);
    return hydrate;
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = {
        score: 0,
        streak: 0,
        trails: new Trails(),
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
  return Math.min(MOST_NEXT, EXPECTED_AFTER * 2 ** Math.floor(streak / 4));
}

/** True for 32, 64, 128, …: what does not fit now is asked about ever more rarely. */
function isDoubling(opens: number): boolean {
  return opens >= HYDRATE_FROM && (opens & (opens - 1)) === 0;
}
