/**
 * Walks a bucket's index for a listing: pure, over entries in order.
 *
 * A common prefix is found at its first live key and then jumped over as a whole, so a page costs what it shows, not
 * what lies below it.
 */
import type { Bucket, KeyEntry } from "../state/bucket.ts";
import { afterPrefix, sortKeyOf } from "../state/sorted-keys.ts";

export interface WalkQuery {
  prefix: string;
  delimiter: string;
  maxKeys: number;
  /** Where to begin: behind this key, or behind everything below this common prefix. */
  after: { key: string } | { prefix: string } | undefined;
}

/** One line of a listing. */
export type Line = { key: KeyEntry } | { prefix: string };

export interface WalkResult {
  lines: Line[];
  isTruncated: boolean;
}

/** The first key behind `after`, and not before `prefix`. */
function start(prefix: string, after: WalkQuery["after"]): string | undefined {
  if (after === undefined) return prefix;
  const from = "key" in after ? `${sortKeyOf(after.key)}\0` : afterPrefix(sortKeyOf(after.prefix));
  return from !== undefined && from < prefix ? prefix : from;
}

/** @param isShown which entries count; others are as if they were not there */
export function walk(bucket: Bucket, query: WalkQuery, isShown: (entry: KeyEntry) => boolean): WalkResult {
  const prefix = sortKeyOf(query.prefix);
  const delimiter = sortKeyOf(query.delimiter);
  const lines: Line[] = [];
  const from = start(prefix, query.after);
  if (from === undefined || query.maxKeys === 0) return { lines, isTruncated: false };
  const cursor = bucket.index.seek(from);
  for (;;) {
    const { entry } = cursor;
    if (!entry?.sortKey.startsWith(prefix)) return { lines, isTruncated: false };
    if (!isShown(entry)) {
      cursor.next();
      continue;
    }
    if (lines.length === query.maxKeys) return { lines, isTruncated: true };
    const cut = delimiter === "" ? -1 : entry.sortKey.indexOf(delimiter, prefix.length);
    if (cut < 0) {
      lines.push({ key: entry });
      cursor.next();
      continue;
    }
    const common = entry.sortKey.slice(0, cut + delimiter.length);
    lines.push({ prefix: Buffer.from(common, "latin1").toString("utf8") });
    cursor.seek(afterPrefix(common)!);
  }
}
