/**
 * ClaimedNames: what this mount has done with names, against what listings tell of them.
 *
 * A listing that was asked for before the bucket agreed with what was done here does not know of it: it must neither
 * bring back a name that was removed, nor change or retire one that was written, nor a folder with such a name below.
 */
import type { Milliseconds } from "../common/units.ts";
import type { Claims } from "./claims.ts";
import { Flag } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { ListedFile, Tree } from "./tree.ts";

/**
 * `hidden`: the name was removed here since. `keep`: the row stays as it is. `agree`: the listing shows what was written
 * here. `believe`: no claim is against it.
 */
type Verdict = "hidden" | "keep" | "agree" | "believe";

export class ClaimedNames {
  readonly #tree: Tree;
  readonly #claims: Claims;

  constructor(tree: Tree, claims: Claims) {
    this.#tree = tree;
    this.#claims = claims;
  }

  /** True when a name was removed here and the bucket may still have it. */
  isRemoved(folder: Row, name: string): boolean {
    const claims = this.#claims;
    if (claims.hidesNothing || !this.#tree.isAttached(folder)) return false;
    const path = this.#childPath(folder, name);
    return claims.hides(path, Infinity) || claims.hidesFolder(`${path}/`, Infinity);
  }

  /**
   * A listing tells of a name. A claim that yields to it is given up.
   *
   * @param row the name's, if any
   * @param file undefined for a folder
   * @param since when the listing was asked for; the time of the folder's listing when absent
   */
  judge(
    folder: Row,
    name: string,
    row: Row,
    file: ListedFile | undefined,
    since = this.#claims.listingOf(folder),
  ): Verdict {
    const claims = this.#claims;
    const tree = this.#tree;
    const { table } = tree;
    const live = row !== NO_ROW && !tree.isDead(row);
    if (!live) {
      if (claims.hidesNothing) return "believe";
      const path = this.#childPath(folder, name);
      const hides = file ? claims.hides(path, since) : claims.hidesFolder(`${path}/`, since);
      return hides ? "hidden" : "believe";
    }
    const same = file === undefined ? tree.isFolder(row) : !tree.isFolder(row) && tree.isVersion(row, file);
    if (tree.isLocal(row)) {
      if (!claims.yields(row, since)) return "keep";
      table.setFlag(row, Flag.local, false);
      claims.unsettleRow(row);
      if (same && file !== undefined) return "agree";
    }
    if (same || !claims.isHeld(table.nodeId(row)) || table.has(row, Flag.suspect)) return "believe";
    return "keep";
  }

  /** False for a name that an answer asked for at `since` cannot know, or came too early to know. */
  mayRetire(folder: Row, row: Row, since?: Milliseconds): boolean {
    const asked = since ?? this.#claims.listingOf(folder);
    if (this.#tree.isLocal(row) && !this.#claims.yields(row, asked)) return false;
    return !this.#tree.isFolder(row) || !this.#hasClaimBelow(row, asked);
  }

  /** A listing without a folder says of everything below it, too, that it is not there. */
  #hasClaimBelow(folder: Row, since: Milliseconds): boolean {
    const tree = this.#tree;
    for (let row = tree.firstChild(folder); row !== NO_ROW; row = tree.nextSibling(row)) {
      if (tree.isDead(row)) continue;
      if (tree.isLocal(row) && !this.#claims.yields(row, since)) return true;
      if (tree.isFolder(row) && this.#hasClaimBelow(row, since)) return true;
    }
    return false;
  }

  /** The key of a name, by the volume's prefix that the claims know. */
  #childPath(folder: Row, name: string): string {
    return `${this.#claims.prefix}${folder === ROOT_ROW ? "" : `${this.#tree.path(folder)}/`}${name}`;
  }
}
