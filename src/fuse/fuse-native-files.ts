/**
 * Open files of the fuse-native channel: a small number that libfuse keeps, to our handle and the nodes it holds.
 *
 * libfuse has one node a path, and with it one page cache a path. Two versions of an object would share it and a
 * reader could see both mixed. So while one version is open, an open of another one answers `stale` (`refuseMixing`).
 */
import { HawserError } from "../common/errors.ts";
import type { HandleId } from "../vfs/filesystem.ts";
import type { Walk } from "./fuse-native-paths.ts";

export interface OpenFile {
  readonly handle: HandleId;
  /** Follows renames. */
  path: string;
  readonly walk: Walk;
}

/** libfuse's handle travels as a signed 32-bit number, and 0 means none. */
const MAX_FD = 2 ** 31 - 1;

export class OpenFiles {
  readonly #files = new Map<number, OpenFile>();
  #last = 0;

  /** Keeps an open file. Takes the walk over. @returns the number for libfuse */
  add(handle: HandleId, path: string, walk: Walk): number {
    do this.#last = this.#last === MAX_FD ? 1 : this.#last + 1;
    while (this.#files.has(this.#last));
    this.#files.set(this.#last, { handle, path, walk });
    return this.#last;
  }

  /** @throws `bad_handle` */
  get(fd: number): OpenFile {
    const file = this.#files.get(fd);
    if (!file) throw new HawserError("bad_handle", `File handle ${fd} is not open.`);
    return file;
  }

  /** Ends an open file; the caller releases its handle and forgets its walk. @throws `bad_handle` */
  take(fd: number): OpenFile {
    const file = this.get(fd);
    this.#files.delete(fd);
    return file;
  }

  /** Ends all open files. */
  takeAll(): OpenFile[] {
    const files = [...this.#files.values()];
    this.#files.clear();
    return files;
  }

  isOpen(path: string): boolean {
    for (const file of this.#files.values()) if (file.path === path) return true;
    return false;
  }

  /** @throws `stale` when the path is open in another version than this walk's */
  refuseMixing(path: string, walk: Walk): void {
    for (const file of this.#files.values()) {
      if (file.path !== path || file.walk.nodeId === walk.nodeId) continue;
      throw new HawserError(
        "stale",
        `${path} was replaced while it is open; this channel cannot show both versions. Close it first, or use --channel native.`,
      );
    }
  }

  /** Follows a rename of a file or a folder. */
  renamed(from: string, to: string): void {
    for (const file of this.#files.values()) {
      if (file.path === from || file.path.startsWith(`${from}/`))
        file.path = to + file.path.slice(from.length);
    }
  }
}
