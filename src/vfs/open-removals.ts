/**
 * Open removals: objects that were removed here while somebody has them open.
 *
 * Their deletion is journaled at once and done when the last handle is closed, so that an unlinked file can be read to
 * its end as on a local disk. It is done earlier when the name is wanted again, or when somebody waits for the bucket:
 * then the reader has what the cache holds.
 */
import type { NodeId } from "./filesystem.ts";

export class OpenRemovals {
  readonly #byNode = new Map<NodeId, { key: string; done: () => void }>();
  readonly #byKey = new Map<string, () => void>();

  /** Resolves when the object may go. */
  until(nodeId: NodeId, key: string): Promise<void> {
    return new Promise((done) => {
      this.#byNode.set(nodeId, { key, done });
      this.#byKey.set(key, done);
    });
  }

  /** The last handle was closed. */
  closed(nodeId: NodeId): void {
    const waiting = this.#byNode.get(nodeId);
    if (!waiting) return;
    this.#byNode.delete(nodeId);
    if (this.#byKey.get(waiting.key) === waiting.done) this.#byKey.delete(waiting.key);
    waiting.done();
  }

  /** The key is wanted. */
  letGo(key: string): void {
    this.#byKey.get(key)?.();
    this.#byKey.delete(key);
  }

  /** Somebody waits for the bucket. */
  letAllGo(): void {
    for (const done of this.#byKey.values()) done();
    this.#byKey.clear();
    this.#byNode.clear();
  }
}
