/**
 * Name probes: names that are asked for one by one, where a listing would take too long.
 *
 * What was found enters the tree, and is believed for a lifetime of its own.
 */
import type { Clock } from "../common/clock.ts";
import { toHawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { ListingFailures } from "./listing-failures.ts";
import { probeName } from "./probe.ts";
import type { Tree } from "./tree.ts";

export interface NameProbesOptions {
  tree: Tree;
  store: ObjectStore;
  clock: Clock;
  /** The volume's prefix, normalized. */
  prefix: string;
  metadataTtlMs: Milliseconds;
  failures: ListingFailures;
  /** Ends every request. */
  signal: AbortSignal;
}

export class NameProbes {
  readonly #options: NameProbesOptions;
  /** Until when an answer holds. */
  readonly #answered = new Map<Row, Milliseconds>();
  /** Requests under way, by key. */
  readonly #asking = new Map<string, Promise<void>>();

  constructor(options: NameProbesOptions) {
    this.#options = options;
  }

  /** Asks for one name. Questions for the same name share the request. @returns its row, none when there is no such name */
  async ask(folder: Row, name: string): Promise<Row> {
    const path = this.#options.tree.path(folder);
    const key = `${this.#options.prefix}${path === "" ? "" : `${path}/`}${name}`;
    let probe = this.#asking.get(key);
    if (probe === undefined) {
      probe = this.#send(folder, name, key).finally(() => this.#asking.delete(key));
      this.#asking.set(key, probe);
    }
    await probe;
    const row = this.#options.tree.find(folder, name);
    return row !== NO_ROW && !this.#options.tree.isDead(row) ? row : NO_ROW;
  }

  /** Until when the answer about a row holds; 0 without one. */
  until(row: Row): Milliseconds {
    return this.#answered.get(row) ?? 0;
  }

  /** Requests are under way. */
  get busy(): boolean {
    return this.#asking.size > 0;
  }

  forget(row: Row): void {
    if (this.#answered.size > 0) this.#answered.delete(row);
  }

  forgetAll(): void {
    this.#answered.clear();
  }

  /** Drops answers that no longer hold. */
  tidy(now: Milliseconds): void {
    for (const [row, until] of this.#answered) {
      if (until <= now) this.#answered.delete(row);
    }
  }

  async #send(folder: Row, name: string, key: string): Promise<void> {
    const tree = this.#options.tree;
    const since = this.#options.clock.monotonic();
    const until = since + this.#options.metadataTtlMs;
    tree.pin(folder);
    try {
      const found = await probeName(this.#options.store, key, this.#options.signal);
      if (!tree.isAttached(folder)) return;
      if (found === undefined) {
        const row = tree.find(folder, name);
        if (row !== NO_ROW && !tree.isDead(row) && tree.mayRetire(folder, row, since)) tree.retire(row);
        return;
      }
      const row =
        found === "folder" ? tree.putFolder(folder, name, since) : tree.putFile(folder, name, found, since);
      if (row !== NO_ROW) this.#answered.set(row, until);
    } catch (error) {
      throw this.#options.failures.translate(toHawserError(error), key);
    } finally {
      tree.unpin(folder);
    }
  }
}
