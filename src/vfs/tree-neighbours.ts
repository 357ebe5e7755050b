/**
 * Neighbours from the tree: what follows a file in listing order, and all that is below a folder.
 *
 * Answers come from listings that may be believed at the moment; for what follows a file no request is ever sent. Only
 * who wants a whole folder may cause its listing, which costs one request where fetching the files costs a thousand,
 * and which ends as soon as there is more than was asked for.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { FolderVersions, NeighbourSource } from "../cache/neighbours.ts";
import type { Bytes } from "../common/units.ts";
import { FolderWalk } from "./folder-walk.ts";
import { Double, Flag } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Lister } from "./lister.ts";
import { folderKeyOf, objectVersion } from "./object-version.ts";
import type { Tree } from "./tree.ts";

/** Names looked at before others get their turn: about a millisecond. */
const SLICE_NAMES = 8192;
/** Files turned into versions at a time. */
const SLICE_FILES = 256;
/** Names passed over, gone or not files, before a search for what follows gives up. */
const MOST_SKIPPED = 1024;
/** Listings of one folder before its state is left alone: it changes as fast as it is listed. */
const LISTINGS = 2;

export interface TreeNeighboursOptions {
  tree: Tree;
  lister: Lister;
  /** The volume's prefix, normalized. */
  prefix: string;
}

export class TreeNeighbours implements NeighbourSource {
  readonly #tree: Tree;
  readonly #lister: Lister;
  readonly #prefix: string;
  readonly #closing = new AbortController();

  constructor({ tree, lister, prefix }: TreeNeighboursOptions) {
    this.#tree = tree;
    this.#lister = lister;
    this.#prefix = prefix;
  }

  after(key: string, limit: number): ObjectVersion[] {
    const versions: ObjectVersion[] = [];
    const tree = this.#tree;
    let row = this.#rowOf(key);
    if (row === NO_ROW) return versions;
    let folder = tree.parent(row);
    let folderKey = folderKeyOf(tree, this.#prefix, folder);
    for (let skipped = 0; versions.length < limit && skipped < MOST_SKIPPED;) {
      row = this.#next(row);
      if (row === NO_ROW) break;
      if (tree.parent(row) !== folder) {
        folder = tree.parent(row);
        folderKey = folderKeyOf(tree, this.#prefix, folder);
      }
      if (this.#isFile(row)) versions.push(objectVersion(tree, folderKey, row));
      else skipped++;
    }
    return versions;
  }

  async folder(
    prefix: string,
    mostBytes: Bytes = Number.POSITIVE_INFINITY,
  ): Promise<FolderVersions | undefined> {
    const folder = this.#folderOf(prefix);
    if (folder === NO_ROW) return undefined;
    this.#tree.pin(folder);
    try {
      for (let listings = 0; listings <= LISTINGS; listings++) {
        const known = await this.#sum(folder, mostBytes);
        if (known.totalBytes > mostBytes) return undefined;
        if (known.whole) return { ...known, versions: () => this.#versions(prefix) };
        const goOn = (listedBytes: Bytes): boolean => listedBytes <= mostBytes;
        if (!(await this.#lister.listBelow(folder, this.#closing.signal, goOn))) return undefined;
      }
      return undefined;
    } finally {
      this.#tree.unpin(folder);
    }
  }

  close(): void {
    this.#closing.abort();
  }

  /** Counts what is below a folder, as far as that is known; no further than beyond `mostBytes`. */
  async #sum(folder: Row, mostBytes: Bytes): Promise<{ count: number; totalBytes: Bytes; whole: boolean }> {
    const walk = this.#walk(folder);
    let count = 0;
    let totalBytes = 0;
    const add = (row: Row): void => {
      count++;
      totalBytes += this.#tree.table.getDouble(row, Double.size);
    };
    try {
      while (walk.slice(SLICE_NAMES, add)) {
        if (totalBytes > mostBytes) break;
        await nextTurn();
      }
      return { count, totalBytes, whole: walk.unknownFolders === 0 };
    } finally {
      walk.close();
    }
  }

  async *#versions(prefix: string): AsyncGenerator<ObjectVersion> {
    const tree = this.#tree;
    const folder = this.#folderOf(prefix);
    if (folder === NO_ROW) return;
    const walk = this.#walk(folder);
    let keyOf = { folder, key: folderKeyOf(tree, this.#prefix, folder) };
    const batch: ObjectVersion[] = [];
    const add = (row: Row, parent: Row): void => {
      if (!this.#isFile(row)) return;
      if (parent !== keyOf.folder) keyOf = { folder: parent, key: folderKeyOf(tree, this.#prefix, parent) };
      batch.push(objectVersion(tree, keyOf.key, row));
    };
    try {
      for (let more = true; more;) {
        more = walk.slice(SLICE_FILES, add);
        yield* batch.splice(0);
      }
    } finally {
      walk.close();
    }
  }

  #walk(folder: Row): FolderWalk {
    return new FolderWalk(folder, { tree: this.#tree, isKnown: (row) => this.#lister.isFresh(row) });
  }

  /** The name behind this one in listing order, into folders and out of them; none where that is not known. */
  #next(row: Row): Row {
    const tree = this.#tree;
    for (let at = row; at !== ROOT_ROW; at = tree.parent(at)) {
      const folder = tree.parent(at);
      const next = tree.nextSibling(at);
      if (next !== NO_ROW) return this.#isKnown(folder, next) ? this.#firstIn(next) : NO_ROW;
      if (folder === NO_ROW || !this.#lister.isFresh(folder)) return NO_ROW;
    }
    return NO_ROW;
  }

  /** The row itself, or the first name in the innermost of the folders that begin here. */
  #firstIn(row: Row): Row {
    const tree = this.#tree;
    let at = row;
    while (tree.isFolder(at) && !tree.isDead(at)) {
      const first = tree.firstChild(at);
      // An empty folder stands for itself, and is passed over.
      if (first === NO_ROW) return this.#lister.isFresh(at) ? at : NO_ROW;
      if (!this.#isKnown(at, first)) return NO_ROW;
      at = first;
    }
    return at;
  }

  #isKnown(folder: Row, row: Row): boolean {
    return this.#lister.isFresh(folder) || (this.#lister.isListing(folder) && this.#tree.isSeen(row));
  }

  #isFile(row: Row): boolean {
    const tree = this.#tree;
    // What was changed here may not be in the bucket yet.
    if (tree.isDead(row) || tree.isLocal(row)) return false;
    return tree.type(row) === "file" && !tree.table.has(row, Flag.suspect);
  }

  #rowOf(key: string): Row {
    if (!key.startsWith(this.#prefix)) return NO_ROW;
    let row = ROOT_ROW;
    for (const name of key.slice(this.#prefix.length).split("/")) {
      row = this.#tree.find(row, name);
      if (row === NO_ROW) return NO_ROW;
    }
    return row;
  }

  #folderOf(prefix: string): Row {
    if (prefix === this.#prefix) return ROOT_ROW;
    const row = prefix.endsWith("/") ? this.#rowOf(prefix.slice(0, -1)) : NO_ROW;
    return row !== NO_ROW && this.#tree.isFolder(row) && this.#tree.isAttached(row) ? row : NO_ROW;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
