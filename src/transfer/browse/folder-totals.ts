/**
 * Sizes and counts per folder, from keys in the order in which a listing gives them.
 *
 * What lies below a folder is one run of keys, so a folder's total is known as soon as a key of another one comes: only
 * the folders on the way to the present key are kept, however many there are.
 */
import type { Bytes } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";

export interface FolderTotal {
  /** Full key, ending in a slash; what the totals are of as a whole for the last one. */
  folder: string;
  /** 0 for the whole. */
  depth: number;
  objects: number;
  bytes: Bytes;
}

export class FolderTotals {
  readonly #maxDepth: number;
  /** From the whole to the folder of the present key. */
  readonly #open: FolderTotal[];

  /** @param top key that ends in a slash, or empty; @param maxDepth folders deeper than this count for those above */
  constructor(top: string, maxDepth: number) {
    this.#maxDepth = maxDepth;
    this.#open = [{ folder: top, depth: 0, objects: 0, bytes: 0 }];
  }

  /** Takes the next object. @returns the folders that are complete now, deepest first */
  add({ key, sizeBytes }: ListedObject): FolderTotal[] {
    const done = this.#leave((folder) => key.startsWith(folder));
    let inside = this.#open.at(-1)!;
    while (inside.depth < this.#maxDepth) {
      const slash = key.indexOf("/", inside.folder.length);
      if (slash < 0) break;
      inside = { folder: key.slice(0, slash + 1), depth: inside.depth + 1, objects: 0, bytes: 0 };
      this.#open.push(inside);
    }
    for (const folder of this.#open) {
      folder.objects++;
      folder.bytes += sizeBytes;
    }
    return done;
  }

  /** The folders that are left, the whole last. */
  end(): FolderTotal[] {
    return [...this.#leave(() => false), this.#open[0]!];
  }

  #leave(stays: (folder: string) => boolean): FolderTotal[] {
    const done: FolderTotal[] = [];
    while (this.#open.length > 1 && !stays(this.#open.at(-1)!.folder)) done.push(this.#open.pop()!);
    return done;
  }
}
