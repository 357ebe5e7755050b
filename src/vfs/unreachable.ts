/**
 * Unreachable keys: what the bucket holds and no path leads to.
 *
 * `findUnreachableKeys` goes through a whole prefix and names each (for `hawser doctor`); `UnreachableNotes` is what a
 * mounted volume happened to meet, with one log line a reason.
 */
import type { Logger } from "../observe/logger.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { isBefore, keyToPath, normalizePrefix } from "./key-path.ts";
import type { UnreachableKey, UnreachableReason } from "./key-path.ts";

/** Keys kept; a volume with more is told about by number. */
const NOTES_KEPT = 1000;

export class UnreachableNotes {
  readonly #logger: Pick<Logger, "warn">;
  readonly #keys = new Map<string, UnreachableReason>();
  readonly #reasons = new Set<UnreachableReason>();

  constructor(logger: Pick<Logger, "warn">) {
    this.#logger = logger;
  }

  add(key: string, reason: UnreachableReason): void {
    if (!this.#reasons.has(reason)) {
      this.#reasons.add(reason);
      this.#logger.warn(
        { key, reason },
        "The bucket has keys that no path leads to; 'hawser doctor' lists them.",
      );
    }
    if (this.#keys.size < NOTES_KEPT || this.#keys.has(key)) this.#keys.set(key, reason);
  }

  /** The first 1,000 met. */
  list(): UnreachableKey[] {
    return [...this.#keys].map(([key, reason]) => ({ key, reason }));
  }
}

/** Every key below the prefix that no path leads to, from one listing of all of it. */
export async function* findUnreachableKeys(
  store: ObjectStore,
  prefix: string,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<UnreachableKey> {
  const root = normalizePrefix(prefix);
  /** Objects whose name may still turn out to be a folder's: see ListingRun. */
  const pending: string[] = [];
  let continuationToken: string | undefined;
  do {
    const page = await store.list(
      { prefix: root, continuationToken },
      { reason: "bulk", signal: options.signal },
    );
    for (const { key, sizeBytes } of page.objects) {
      while (pending.length > 0 && isBefore(pending.at(-1)!, key)) pending.pop();
      if (pending.length > 0 && key.startsWith(`${pending.at(-1)!}/`)) {
        yield { key: pending.pop()!, reason: "shadowed_by_folder" };
      }
      const path = keyToPath(root, key);
      if (path === undefined) continue;
      if (!path.reachable) yield { key, reason: path.reason };
      else if (!path.folder) pending.push(key);
      else if (sizeBytes > 0) yield { key, reason: "marker_with_content" };
    }
    continuationToken = page.nextToken;
  } while (continuationToken !== undefined);
}
