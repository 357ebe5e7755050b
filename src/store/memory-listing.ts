/**
 * Listing of a sorted set of keys, with the rules of ListObjectsV2: what the in-memory store answers, and what a test
 * may compare a real listing with.
 */
import { lowerBound } from "./key-order.ts";
import type { ListQuery } from "./object-store.ts";

export interface KeyPage {
  keys: string[];
  prefixes: string[];
  nextToken?: string | undefined;
}

/** One page of `sortedKeys` (UTF-8 byte order). The token is the last key or folder given. */
export function listKeys(sortedKeys: readonly string[], query: ListQuery): KeyPage {
  const { prefix, delimiter, continuationToken, startAfter } = query;
  const limit = query.maxKeys ?? 1000;
  const page: KeyPage = { keys: [], prefixes: [] };
  let at = lowerBound(sortedKeys, prefix);
  if (continuationToken !== undefined) at = Math.max(at, afterToken(sortedKeys, continuationToken, query));
  else if (startAfter !== undefined) at = Math.max(at, afterKey(sortedKeys, startAfter));

  let last: string | undefined;
  while (at < sortedKeys.length) {
    const key = sortedKeys[at]!;
    if (!key.startsWith(prefix)) break;
    if (page.keys.length + page.prefixes.length >= limit) {
      page.nextToken = last;
      break;
    }
    const cut = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
    if (cut < 0) {
      page.keys.push(key);
      last = key;
      at++;
      continue;
    }
    last = key.slice(0, cut + 1);
    page.prefixes.push(last);
    at = pastPrefix(sortedKeys, last);
  }
  return page;
}

/** A page that ended with a folder goes on behind the whole folder; the prefix itself is a key, its marker. */
function afterToken(keys: readonly string[], token: string, { prefix, delimiter }: ListQuery): number {
  return delimiter !== undefined && token !== prefix && token.endsWith(delimiter)
    ? pastPrefix(keys, token)
    : afterKey(keys, token);
}

function afterKey(keys: readonly string[], key: string): number {
  const at = lowerBound(keys, key);
  return keys[at] === key ? at + 1 : at;
}

/** Index of the first key behind all those that begin with `prefix`. */
function pastPrefix(keys: readonly string[], prefix: string): number {
  let low = lowerBound(keys, prefix);
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]!.startsWith(prefix)) low = middle + 1;
    else high = middle;
  }
  return low;
}
