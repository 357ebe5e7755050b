/**
 * Publishing order: what must be in the bucket before something else may be seen or removed there.
 *
 * Programs write a checkpoint's shards and then a small file that says so (`latest`, an index, a config). Whoever reads
 * the small one in the bucket must find the shards. So a smaller object waits for large ones that were closed before
 * it, in its folder or below; and nothing is deleted while a large object that was closed before is still on its way:
 * the old checkpoint goes when the new one is safe. Objects below LARGE hold nobody back: among them the order of
 * thousands of small files would cost most of the parallelism and promise nothing anybody relies on.
 */
import { KiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

export const LARGE: Bytes = 256 * KiB;

/** Something to be done in the bucket, as far as the order is concerned. */
export interface Ordered {
  /** In which the program asked for things. */
  readonly seq: number;
  /** `appear` makes an object visible under `key`; `vanish` deletes one. */
  readonly effect: "appear" | "vanish";
  readonly key: string;
  readonly sizeBytes: Bytes;
}

/** The key's folder, with its slash; empty at the bucket's root. */
export function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf("/", key.length - 2) + 1);
}

/** True when `later` has to wait until `earlier` has been done. */
export function holdsBack(earlier: Ordered, later: Ordered): boolean {
  if (earlier.seq >= later.seq || earlier.effect !== "appear" || earlier.sizeBytes < LARGE) return false;
  if (later.effect === "vanish") return earlier.key !== later.key;
  return earlier.sizeBytes > later.sizeBytes && earlier.key.startsWith(folderOf(later.key));
}
