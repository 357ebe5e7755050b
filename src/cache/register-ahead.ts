/**
 * RegisterAhead: after a restart, files are registered with the kernel before they are opened.
 *
 * Opening a cached file that the kernel does not know costs a visit to the thread pool. Where that happens, more such
 * opens are likely: the mount has just come up, and somebody reads what was read before. Each of them lets some more of the
 * files used last be opened and registered in one visit, twice as many each time. Who reads little causes little.
 */
import { closeSync } from "node:fs";
import { native } from "../common/native.ts";
import type { DiskEntry } from "./disk-entry.ts";

/** In one visit: others want the thread as well. */
const MOST_TOGETHER = 64;
const FIRST_TOGETHER = 4;

export interface RegisterAheadParts {
  /** Every entry; asked once, from the one used last to the coldest. */
  entries: () => Iterable<DiskEntry>;
  pathOf: (entry: DiskEntry) => string;
  isRegistered: (entry: DiskEntry) => boolean;
  /** @returns whether the kernel took the open file */
  register: (entry: DiskEntry, fd: number) => boolean;
  /** As many as are kept registered. */
  most: number;
}

export class RegisterAhead {
  readonly #parts: RegisterAheadParts;
  #left: Iterator<DiskEntry> | undefined;
  #together = FIRST_TOGETHER;
  #running: Promise<void> | undefined;
  /** Nothing is left to do, or nobody wants it. */
  #over = false;
  #closed = false;

  constructor(parts: RegisterAheadParts) {
    this.#parts = parts;
  }

  /** Somebody has opened a file that was not registered. */
  late(): void {
    if (this.#over || this.#closed || this.#running) return;
    this.#running = this.#next().finally(() => (this.#running = undefined));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #next(): Promise<void> {
    const { pathOf, isRegistered, register } = this.#parts;
    const entries = this.#take(this.#together);
    this.#together = Math.min(MOST_TOGETHER, 2 * this.#together);
    if (entries.length === 0) return;
    // A file that cannot be opened is left to who reads it.
    const descriptors = await native().openFiles(entries.map(pathOf));
    for (const [i, fd] of descriptors.entries()) {
      if (fd < 0) continue;
      const entry = entries[i]!;
      const isWanted = !this.#closed && isCandidate(entry) && !isRegistered(entry);
      if (isWanted && !register(entry, fd)) this.#over = true;
      closeSync(fd);
    }
  }

  #take(count: number): DiskEntry[] {
    // A copy: the order changes with every use.
    this.#left ??= Array.from(first(this.#parts.entries(), this.#parts.most)).values();
    const entries: DiskEntry[] = [];
    while (entries.length < count) {
      const next = this.#left.next();
      if (next.done) {
        this.#over = true;
        break;
      }
      if (isCandidate(next.value) && !this.#parts.isRegistered(next.value)) entries.push(next.value);
    }
    return entries;
  }
}

function isCandidate(entry: DiskEntry): boolean {
  return entry.trusted && !entry.removed;
}

function* first<T>(all: Iterable<T>, count: number): Generator<T> {
  let taken = 0;
  for (const each of all) {
    if (taken++ >= count) return;
    yield each;
  }
}
