/**
 * Folder walk: every file below a folder that is known, in listing order, in slices.
 *
 * Between slices the tree may change. The folders that the walk is in are pinned, so its place in each list holds, and
 * a name is met at most once; what was put or taken away meanwhile may be met or not.
 */
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Tree } from "./tree.ts";

export interface FolderWalkOptions {
  tree: Tree;
  /** Whether a folder's list of names may be believed; what is in others is passed over. */
  isKnown(folder: Row): boolean;
}

export class FolderWalk {
  readonly #options: FolderWalkOptions;
  readonly #stack: { folder: Row; next: Row }[] = [];
  /** Folders that were passed over. */
  unknownFolders = 0;

  constructor(folder: Row, options: FolderWalkOptions) {
    this.#options = options;
    this.#enter(folder);
  }

  /** Calls `visit` for up to `limit` names, folders counted. @returns false at the end */
  slice(limit: number, visit: (row: Row, folder: Row) => void): boolean {
    const { tree } = this.#options;
    for (let left = limit; left > 0; left--) {
      const top = this.#stack.at(-1);
      if (top === undefined) return false;
      const row = top.next;
      if (row === NO_ROW) {
        this.#leave();
        continue;
      }
      top.next = tree.nextSibling(row);
      if (tree.isDead(row)) continue;
      if (tree.isFolder(row)) this.#enter(row);
      else if (tree.type(row) === "file") visit(row, top.folder);
    }
    return true;
  }

  /** Lets go of the tree. To be called when the walk ends early; may be called twice. */
  close(): void {
    while (this.#stack.length > 0) this.#leave();
  }

  #enter(folder: Row): void {
    const { tree } = this.#options;
    if (!this.#options.isKnown(folder)) {
      this.unknownFolders++;
      return;
    }
    tree.pin(folder);
    this.#stack.push({ folder, next: tree.firstChild(folder) });
  }

  #leave(): void {
    this.#options.tree.unpin(this.#stack.pop()!.folder);
  }
}
