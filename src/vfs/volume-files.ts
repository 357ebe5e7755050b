/** Volume files: the object versions at paths, below folders and matched by globs, for who wants their bytes. */
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import { globFolder, globMatcher, isGlob } from "../common/glob.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Lister } from "./lister.ts";
import { folderKeyOf, objectVersion } from "./object-version.ts";
import type { Tree } from "./tree.ts";
import type { TreeNeighbours } from "./tree-neighbours.ts";

/** Files that belong together, in listing order. */
export interface FileSelection {
  count: number;
  totalBytes: Bytes;
  /** The one key, or the prefix of all, where a prefix says it. */
  prefix?: string;
  versions(): AsyncIterable<ObjectVersion> | Iterable<ObjectVersion>;
}

export interface VolumeFilesOptions {
  tree: Tree;
  lister: Lister;
  neighbours: TreeNeighbours;
  /** The volume's prefix, normalized. */
  prefix: string;
}

export class VolumeFiles {
  readonly #options: VolumeFilesOptions;

  constructor(options: VolumeFilesOptions) {
    this.#options = options;
  }

  /**
   * The file at a path below the volume's root.
   *
   * @returns undefined where there is none
   * @throws HawserError a listing's failure, `interrupted`
   */
  async file(path: string, signal: AbortSignal): Promise<ObjectVersion | undefined> {
    const { tree, prefix } = this.#options;
    const row = await this.#rowAt(path, signal);
    if (row === NO_ROW || tree.type(row) !== "file") return undefined;
    return objectVersion(tree, folderKeyOf(tree, prefix, tree.parent(row)), row);
  }

  /** @throws HawserError `not_found` where there is nothing; globs are taken on trust */
  async require(path: string, signal: AbortSignal): Promise<void> {
    if (isGlob(path) || (await this.#rowAt(path, signal)) !== NO_ROW) return;
    throw nothingAt(path);
  }

  /**
   * A file, everything below a folder (the root is the empty path), or what a glob matches.
   *
   * @throws HawserError `not_found` where there is nothing, a listing's failure, `interrupted`
   */
  async select(path: string, signal: AbortSignal): Promise<FileSelection> {
    // A path that is there is itself, whatever characters it has.
    const row = await this.#rowAt(path, signal);
    if (row === NO_ROW) {
      if (isGlob(path)) return this.#matches(path, signal);
      throw nothingAt(path);
    }
    const { tree } = this.#options;
    if (tree.isFolder(row)) return this.#folder(row);
    const file = await this.file(path, signal);
    return {
      count: file ? 1 : 0,
      totalBytes: file?.sizeBytes ?? 0,
      versions: () => (file ? [file] : []),
    };
  }

  async #folder(row: Row): Promise<FileSelection> {
    const { tree, neighbours } = this.#options;
    const prefix = folderKeyOf(tree, this.#options.prefix, row);
    const folder = await neighbours.folder(prefix);
    if (folder) return { ...folder, prefix };
    throw new HawserError(
      "io_error",
      `The folder '${prefix}' changes faster than it can be listed; try again.`,
    );
  }

  async #matches(glob: string, signal: AbortSignal): Promise<FileSelection> {
    const matches = globMatcher(glob);
    const { prefix } = this.#options;
    const row = await this.#rowAt(globFolder(glob), signal);
    const within = row !== NO_ROW && this.#options.tree.isFolder(row) ? await this.#folder(row) : undefined;
    const versions = async function* (): AsyncGenerator<ObjectVersion> {
      for await (const version of within?.versions() ?? [])
        if (matches(version.key.slice(prefix.length))) yield version;
    };
    let count = 0;
    let totalBytes = 0;
    for await (const { sizeBytes } of versions()) {
      count++;
      totalBytes += sizeBytes;
    }
    if (count === 0) throw new HawserError("not_found", `Nothing in this volume matches '${glob}'.`);
    return { count, totalBytes, versions };
  }

  async #rowAt(path: string, signal: AbortSignal): Promise<Row> {
    let row = ROOT_ROW;
    for (const name of path.split("/")) {
      if (name === "") continue;
      if (!this.#options.tree.isFolder(row)) return NO_ROW;
      row = await this.#options.lister.lookup(
        row,
        name,
        () => signal,
        (found) => found,
      );
      if (row === NO_ROW) return NO_ROW;
    }
    return row;
  }
}

function nothingAt(path: string): HawserError {
  return new HawserError("not_found", `There is no '${path}' in this volume.`);
}
