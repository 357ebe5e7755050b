/**
 * OpenFiles: descriptors of cache files, kept open in a bounded LRU.
 *
 * A descriptor in use is never closed; one that fell out of the LRU closes with its last user. Two users that need the
 * same file at once share one open(2).
 */
import { constants } from "node:fs";
import { LRUCache } from "lru-cache";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { DiskEntry } from "./disk-entry.ts";
import { closeFile, openFile } from "./fd-io.ts";

export class OpenFile {
  readonly fd: number;
  users = 0;
  /** No longer in the LRU: the last user closes it. */
  dropped = false;

  constructor(fd: number) {
    this.fd = fd;
  }
}

interface Opening {
  waiters: number;
  readonly file: Promise<OpenFile>;
}

export class OpenFiles {
  readonly #files: LRUCache<DiskEntry, OpenFile>;
  readonly #opening = new Map<DiskEntry, Opening>();
  readonly #pathOf: (entry: DiskEntry) => string;
  readonly #closing = new Set<Promise<void>>();

  constructor(mostOpen: number, pathOf: (entry: DiskEntry) => string) {
    this.#pathOf = pathOf;
    this.#files = new LRUCache<DiskEntry, OpenFile>({
      max: mostOpen,
      dispose: (file) => {
        file.dropped = true;
        if (file.users === 0) this.#close(file);
      },
    });
  }

  /** Opens the entry's file. Each use ends with `release`. */
  acquire(entry: DiskEntry): MaybePromise<OpenFile> {
    const file = this.#files.get(entry);
    if (file !== undefined) {
      file.users++;
      return file;
    }
    return this.#share(entry);
  }

  /** Takes a descriptor of the entry's file that somebody else has opened. */
  keep(entry: DiskEntry, fd: number): void {
    const file = new OpenFile(fd);
    if (entry.removed || this.#files.has(entry) || this.#opening.has(entry)) this.#close(file);
    else this.#files.set(entry, file);
  }

  /** Gives away the descriptor that is kept and not in use: it is the caller's to close. */
  take(entry: DiskEntry): number | undefined {
    const file = this.#files.peek(entry);
    if (file === undefined || file.users > 0) return undefined;
    file.users = 1;
    this.#files.delete(entry);
    return file.fd;
  }

  release(file: OpenFile): void {
    if (--file.users === 0 && file.dropped) this.#close(file);
  }

  /** Closes the entry's descriptor as soon as nobody uses it. */
  drop(entry: DiskEntry): void {
    this.#files.delete(entry);
  }

  /** Closes what is not in use and waits for it; the rest closes with its users. */
  async close(): Promise<void> {
    await Promise.allSettled(Array.from(this.#opening.values(), ({ file }) => file));
    this.#files.clear();
    await Promise.all(this.#closing);
  }

  #share(entry: DiskEntry): Promise<OpenFile> {
    let opening = this.#opening.get(entry);
    if (opening === undefined) {
      opening = { waiters: 0, file: this.#open(entry) };
      this.#opening.set(entry, opening);
    }
    opening.waiters++;
    return opening.file;
  }

  async #open(entry: DiskEntry): Promise<OpenFile> {
    const { O_RDWR, O_RDONLY } = constants;
    try {
      // A complete file is never written again.
      const file = new OpenFile(await openFile(this.#pathOf(entry), entry.complete ? O_RDONLY : O_RDWR));
      // Counted here and not when each of them runs again: the file must not be closed before.
      file.users = this.#opening.get(entry)?.waiters ?? 0;
      if (entry.removed) file.dropped = true;
      else this.#files.set(entry, file);
      return file;
    } finally {
      this.#opening.delete(entry);
    }
  }

  #close(file: OpenFile): void {
    const closing = closeFile(file.fd).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
