/**
 * Paths to node ids: libfuse 2 names files by path, our filesystem by node id.
 *
 * Each operation walks its path from the root with lookups, holds the nodes of the whole chain while it works, as the
 * kernel does, and forgets exactly what it looked up. An open file keeps its chain until its release.
 *
 * An open file that is unlinked is first renamed by libfuse to `.fuse_hiddenXXXXXXXXYYYYYYYY`, and unlinked after its
 * release, because it knows open files by path only. We know them by handle: so such a rename unlinks at once, and the
 * hidden path is only an alias of the node until it goes (`hide`, `unhide`). Nothing of it reaches the bucket.
 */
import { HawserError } from "../common/errors.ts";
import { ROOT, type Caller, type Entry, type Filesystem, type NodeId } from "../vfs/filesystem.ts";

const HIDDEN_NAME = /^\.fuse_hidden[0-9a-f]{16}$/;

/** A node reached by a path, with the references that were taken on the way. */
export interface Walk {
  readonly nodeId: NodeId;
  /** The last lookup's answer; absent for the root and for hidden files. */
  readonly entry: Entry | undefined;
  /** Gives the references back. Called once. */
  forget(): void;
}

/** Where a name is to be made, removed or moved. */
export interface Place {
  parent: NodeId;
  name: string;
}

export class Paths {
  readonly #filesystem: Filesystem;
  readonly #hidden = new Map<string, Walk>();

  constructor(filesystem: Filesystem) {
    this.#filesystem = filesystem;
  }

  /** Looks a path up and hands the walk over: the receiver forgets it. @throws `not_found` and what lookups throw */
  async walk(path: string, caller: Caller): Promise<Walk> {
    const hidden = this.#hidden.get(path);
    if (hidden) return { nodeId: hidden.nodeId, entry: undefined, forget: () => {} };
    const held: NodeId[] = [];
    const forget = (): void => {
      for (const nodeId of held.reverse()) this.#filesystem.forget(nodeId, 1);
    };
    let nodeId = ROOT;
    let entry: Entry | undefined;
    try {
      for (const name of components(path)) {
        entry = await this.#filesystem.lookup(nodeId, name, caller);
        nodeId = entry.nodeId;
        if (nodeId === 0) throw new HawserError("not_found", `${path} does not exist.`);
        held.push(nodeId);
      }
    } catch (error) {
      forget();
      throw error;
    }
    return { nodeId, entry, forget };
  }

  /** Runs `work` on the node behind a path. */
  async with<T>(path: string, caller: Caller, work: (walk: Walk) => T | Promise<T>): Promise<T> {
    const walk = await this.walk(path, caller);
    try {
      return await work(walk);
    } finally {
      walk.forget();
    }
  }

  /** Runs `work` on the folder and the name of a path. */
  within<T>(path: string, caller: Caller, work: (place: Place) => T | Promise<T>): Promise<T> {
    const cut = path.lastIndexOf("/");
    return this.with(path.slice(0, cut), caller, ({ nodeId }) =>
      work({ parent: nodeId, name: path.slice(cut + 1) }),
    );
  }

  /** Gives back the one reference of an entry that was made and is not kept. */
  forget(entry: Entry): void {
    if (entry.nodeId !== 0) this.#filesystem.forget(entry.nodeId, 1);
  }

  /** True when libfuse renames an open file out of the way. */
  static hides(from: string, to: string): boolean {
    const cut = to.lastIndexOf("/");
    return (
      from.lastIndexOf("/") === cut &&
      from.startsWith(to.slice(0, cut + 1)) &&
      HIDDEN_NAME.test(to.slice(cut + 1))
    );
  }

  /** Keeps the node of an unlinked open file reachable by its hidden path. Takes the walk over. */
  hide(path: string, walk: Walk): void {
    this.#hidden.set(path, walk);
  }

  /** Ends a hidden path. @returns false when it is none */
  unhide(path: string): boolean {
    const walk = this.#hidden.get(path);
    walk?.forget();
    return this.#hidden.delete(path);
  }

  /**
   * Whether a folder still holds hidden files. libfuse loses such a file's path with its folder, and then calls its
   * handlers with none, which the package does not survive: so the folder counts as not empty, as on NFS.
   */
  holdsHidden(folder: string): boolean {
    for (const path of this.#hidden.keys()) if (path.startsWith(`${folder}/`)) return true;
    return false;
  }

  /** Follows a rename of a folder. */
  renamed(from: string, to: string): void {
    for (const [path, walk] of this.#hidden) {
      if (!path.startsWith(`${from}/`)) continue;
      this.#hidden.delete(path);
      this.#hidden.set(to + path.slice(from.length), walk);
    }
  }

  /** Gives back what hidden files hold, when the mount is gone. */
  close(): void {
    for (const path of this.#hidden.keys()) this.unhide(path);
  }
}

function components(path: string): string[] {
  return path.split("/").filter(Boolean);
}
