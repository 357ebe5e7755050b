/**
 * Name locks: which changes of names wait for which.
 *
 * The kernel lets one change a folder at a time, but gives up waiting when the caller is killed, while we go on. So
 * changes in one folder run one after another here too. Whatever moves a whole folder runs alone: keys are made from
 * paths, and a path must not change between the making of a key and its use.
 */
import type { NodeId } from "./filesystem.ts";

const NONE = Promise.resolve();

export class NameLocks {
  readonly #tails = new Map<NodeId, Promise<void>>();
  #sharers = 0;
  #excluding = false;
  readonly #queue: { exclusive: boolean; go: () => void }[] = [];

  /** Runs while no folder is moved. Must not be nested. */
  async share<T>(action: () => Promise<T>): Promise<T> {
    if (this.#excluding || this.#queue.length > 0) await this.#wait(false);
    else this.#sharers++;
    try {
      return await action();
    } finally {
      this.#sharers--;
      this.#next();
    }
  }

  /** Runs alone. Must not be nested. */
  async exclude<T>(action: () => Promise<T>): Promise<T> {
    if (this.#excluding || this.#sharers > 0 || this.#queue.length > 0) await this.#wait(true);
    else this.#excluding = true;
    try {
      return await action();
    } finally {
      this.#excluding = false;
      this.#next();
    }
  }

  /** Runs while nobody else changes names in these folders, and none is moved. Must not be nested. */
  within<T>(folders: readonly NodeId[], action: () => Promise<T>): Promise<T> {
    return this.share(async () => {
      const { promise: done, resolve } = deferred();
      const before = new Set(folders.map((folder) => this.#tails.get(folder) ?? NONE));
      // Taken all at once, so no two can wait for each other.
      for (const folder of folders) this.#tails.set(folder, done);
      await Promise.all(before);
      try {
        return await action();
      } finally {
        for (const folder of folders) if (this.#tails.get(folder) === done) this.#tails.delete(folder);
        resolve();
      }
    });
  }

  #wait(exclusive: boolean): Promise<void> {
    return new Promise((go) => this.#queue.push({ exclusive, go }));
  }

  /** Lets in whoever may run now, in order. */
  #next(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      if (this.#excluding || (first.exclusive && this.#sharers > 0)) return;
      this.#queue.shift();
      if (first.exclusive) this.#excluding = true;
      else this.#sharers++;
      first.go();
    }
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
