/**
 * ETags in five words: nearly all are an MD5 in lower-case hex, with `-parts` behind it for multipart objects.
 *
 * Four words take the hex and the fifth the number of parts (0: not multipart). What has another form (quotes inside,
 * upper case, other hashes) is an escape: the fifth word says so, and the caller keeps the text elsewhere.
 */

/** Words an encoded ETag takes. */
export const ETAG_WORDS = 5;
/** In the last word: the text is kept elsewhere. */
export const ETAG_ESCAPE = 0xffff_ffff;

function nibble(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  if (unit >= 0x61 && unit <= 0x66) return unit - 0x57;
  return -1;
}

/** @returns the number of parts in canonical decimal, 0 when there is none, -1 when it is something else */
function partsOf(etag: string): number {
  if (etag.length === 32) return 0;
  if (etag.length < 34 || etag.length > 38 || etag.charCodeAt(32) !== 0x2d) return -1;
  let parts = 0;
  for (let i = 33; i < etag.length; i++) {
    const digit = etag.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    parts = parts * 10 + digit;
  }
  return etag.charCodeAt(33) === 0x30 ? -1 : parts;
}

/**
 * Writes the code of `etag` to `words[at..at + 5)`.
 *
 * @returns false when it is an escape
 */
export function encodeEtag(etag: string, words: Uint32Array, at: number): boolean {
  const parts = partsOf(etag);
  if (parts >= 0) {
    for (let w = 0, i = 0; w < 4; w++) {
      let word = 0;
      for (let n = 0; n < 8; n++, i++) {
        const value = nibble(etag.charCodeAt(i));
        if (value < 0) return escape(words, at);
        word = (word << 4) | value;
      }
      words[at + w] = word;
    }
    words[at + 4] = parts;
    return true;
  }
  return escape(words, at);
}

function escape(words: Uint32Array, at: number): false {
  words.fill(0, at, at + 4);
  words[at + 4] = ETAG_ESCAPE;
  return false;
}

/** The ETag at `words[at..at + 5)`, or undefined when it is an escape. */
export function decodeEtag(words: Uint32Array, at: number): string | undefined {
  const parts = words[at + 4]!;
  if (parts === ETAG_ESCAPE) return undefined;
  let text = "";
  for (let w = 0; w < 4; w++) text += words[at + w]!.toString(16).padStart(8, "0");
  return parts === 0 ? text : `${text}-${parts}`;
}
