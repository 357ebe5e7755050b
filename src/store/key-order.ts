/**
 * Key order: S3 lists keys by their UTF-8 bytes.
 *
 * JavaScript compares UTF-16 units, which differs in one place: a surrogate (above U+FFFF) sorts below U+E000..U+FFFF
 * there and above them in UTF-8. Every merge, binary search or start-after that meets a listing must use this order.
 */

/** Negative, zero or positive as `a` sorts before, with or after `b` in UTF-8 byte order. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left === right) continue;
    return utf8Rank(left) - utf8Rank(right);
  }
  return a.length - b.length;
}

/** Lifts surrogates above the rest of the basic plane, as their UTF-8 form is. */
function utf8Rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Index of the first of the sorted `keys` that is not before `key`. */
export function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(keys[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
