/**
 * CopySources: the objects that staged files are still to be copied from, under keys that are not their own.
 *
 * Nothing is published over such an object, and it is not deleted, while a file needs it. Who waits for that is let
 * look again whenever other files than before may need one. Where the wait could have no end, one file takes its bytes
 * to the local disk and needs no object any more: one of a circle (circle.ts), or one that somebody writes.
 *
 * Saves with a temporary name leave an object each that is to be deleted once it has been copied: hundreds of deletions
 * wait while files come and go. Each remembers one file that it waits for, and is looked at behind the answers of this
 * turn; that file is asked, not all, and the deletion is woken when nobody is left.
 */
import { circleOf, needs, whoGivesWay } from "./circle.ts";
import type { Journal } from "./journal.ts";
import type { LocalStaged } from "./staged-file.ts";
import { untilOrAborted } from "./work-queue.ts";

/** A deletion that waits. */
interface Waiting {
  readonly key: string;
  /** A file that needs the object, as far as is known. */
  neededBy: LocalStaged;
  go(): void;
}

export class CopySources {
  readonly #journal: Journal;
  readonly #find: (key: string) => LocalStaged | undefined;
  /** Files that may need an object under a key that is not theirs. */
  readonly #files = new Set<LocalStaged>();
  #waiters: (() => void)[] = [];
  readonly #waiting = new Set<Waiting>();
  #isLookingSoon = false;

  /** @param find the staged file that has this key now */
  constructor(journal: Journal, find: (key: string) => LocalStaged | undefined) {
    this.#journal = journal;
    this.#find = find;
  }

  /** The file's content may be in the bucket under another key, or be made from what is there. */
  add(file: LocalStaged): void {
    this.#files.add(file);
  }

  delete(file: LocalStaged): void {
    this.#files.delete(file);
  }

  /** Whoever waits may look again. */
  changed(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const go of waiters) go();
    if (this.#isLookingSoon || this.#waiting.size === 0) return;
    this.#isLookingSoon = true;
    setImmediate(() => this.#look());
  }

  /** Wakes those that wait for nobody any more. */
  #look(): void {
    this.#isLookingSoon = false;
    for (const waiting of this.#waiting) {
      const { key, neededBy } = waiting;
      if (this.#files.has(neededBy) && needs(neededBy, key)) continue;
      const other = this.#anyNeeding(key);
      if (other) waiting.neededBy = other;
      else {
        this.#waiting.delete(waiting);
        waiting.go();
      }
    }
  }

  #anyNeeding(key: string): LocalStaged | undefined {
    for (const file of this.needing(key)) return file;
    return undefined;
  }

  /** Resolves when no file needs the object under this key; undefined when that is so. Others may need it soon after. */
  untilUnneeded(key: string, signal: AbortSignal): Promise<void> | undefined {
    const neededBy = this.#anyNeeding(key);
    return neededBy && this.#untilUnneeded(key, neededBy, signal);
  }

  async #untilUnneeded(key: string, neededBy: LocalStaged, signal: AbortSignal): Promise<void> {
    let go = (): void => undefined;
    const unneeded = new Promise<void>((resolve) => (go = resolve));
    const waiting = { key, neededBy, go };
    this.#waiting.add(waiting);
    try {
      await untilOrAborted(unneeded, signal);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** Resolves when other files than before may need an object of another key. */
  change(): Promise<void> {
    return new Promise((go) => this.#waiters.push(go));
  }

  /** Resolves when that may have changed; undefined when no file but `except` needs the object under this key. */
  #free(key: string, except: LocalStaged): Promise<void> | undefined {
    for (const file of this.needing(key)) if (file !== except) return this.change();
    return undefined;
  }

  /** The files of other keys whose next content is made from the object under this key. */
  *needing(key: string): Iterable<LocalStaged> {
    for (const file of this.#files) if (needs(file, key)) yield file;
  }

  /** A file of another key that is open for writing and needs the object under this key. */
  writerNeeding(key: string, except?: LocalStaged): LocalStaged | undefined {
    for (const file of this.needing(key)) if (file !== except && file.writers > 0) return file;
    return undefined;
  }

  /** For a file that is to be published under this key. Undefined when nobody else needs what is there. */
  untilFree(key: string, file: LocalStaged, signal: AbortSignal): Promise<void> | undefined {
    const free = this.#free(key, file);
    return free && this.#untilFree(free, key, file, signal);
  }

  async #untilFree(first: Promise<void>, key: string, file: LocalStaged, signal: AbortSignal): Promise<void> {
    for (let free: Promise<void> | undefined = first; free; free = this.#free(key, file)) {
      const circle = circleOf(file, this.#find);
      if (circle.length > 0 && whoGivesWay(circle) === file) await this.#standAlone(file);
      // Nobody knows when that is closed, and this file was: a log that was rotated away and is written still.
      const writer = this.writerNeeding(key, file);
      if (writer) await this.#standAlone(writer);
      await untilOrAborted(free, signal);
    }
  }

  /** Takes all bytes of a file to the local disk: it is a copy of nothing from then on. */
  async #standAlone(file: LocalStaged): Promise<void> {
    const { size } = file.local.stamp();
    await file.content.fetch([{ start: 0, end: size }]);
    if (file.isGone) return;
    // The bucket may soon have them nowhere else: they must survive what the record survives.
    await file.syncBytes(false);
    file.journal({ t: "own", id: file.id });
    await this.#journal.flush();
    this.changed();
  }
}
