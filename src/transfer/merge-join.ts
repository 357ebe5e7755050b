/**
 * Two sorted streams walked side by side: what both have, and what only one of them has.
 *
 * Neither is held in memory: a batch of each at a time. Both must be in key order (UTF-8 bytes).
 */
import { compareKeys } from "../store/key-order.ts";

export interface Joined<Left, Right> {
  path: string;
  left: Left | undefined;
  right: Right | undefined;
}

/** @throws what the streams throw */
export async function* mergeJoin<Left extends { path: string }, Right extends { path: string }>(
  left: AsyncIterable<readonly Left[]>,
  right: AsyncIterable<readonly Right[]>,
): AsyncGenerator<Joined<Left, Right>[]> {
  const a = new Cursor(left);
  const b = new Cursor(right);
  try {
    // Both begin at once: one is a network, the other a disk.
    await Promise.all([a.fill(), b.fill()]);
    while (a.current || b.current) {
      const joined: Joined<Left, Right>[] = [];
      while ((a.ready || a.ended) && (b.ready || b.ended) && (a.current || b.current)) {
        const order = orderOf(a.current, b.current);
        const path = (order <= 0 ? a.current : b.current)!.path;
        joined.push({
          path,
          left: order <= 0 ? a.take() : undefined,
          right: order >= 0 ? b.take() : undefined,
        });
      }
      if (joined.length > 0) yield joined;
      await Promise.all([a.fill(), b.fill()]);
    }
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

function orderOf(a: { path: string } | undefined, b: { path: string } | undefined): number {
  if (!a) return 1;
  return b ? compareKeys(a.path, b.path) : -1;
}

class Cursor<Item> {
  readonly #source: AsyncIterator<readonly Item[]>;
  #batch: readonly Item[] = [];
  #at = 0;
  ended = false;

  constructor(source: AsyncIterable<readonly Item[]>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  get ready(): boolean {
    return this.#at < this.#batch.length;
  }

  get current(): Item | undefined {
    return this.#batch[this.#at];
  }

  take(): Item {
    return this.#batch[this.#at++]!;
  }

  /** Makes sure that there is a current item, unless the source has ended. */
  async fill(): Promise<void> {
    while (!this.ready && !this.ended) {
      const next = await this.#source.next();
      this.#at = 0;
      if (next.done === true) {
        this.ended = true;
        this.#batch = [];
      } else this.#batch = next.value;
    }
  }

  async close(): Promise<void> {
    if (!this.ended) await this.#source.return?.();
  }
}
