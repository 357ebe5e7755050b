/** UTF-8 without allocation: names are encoded into a buffer that the caller keeps. */

const encoder = new TextEncoder();

/**
 * Writes `text` at the start of `into`.
 *
 * @returns its length in bytes, or -1 when it does not fit
 */
export function encodeUtf8(text: string, into: Uint8Array): number {
  const length = text.length;
  if (length > into.length) return -1;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) {
      const { read, written } = encoder.encodeInto(text, into);
      return read === length ? written : -1;
    }
    into[i] = unit;
  }
  return length;
}

/** Length in UTF-8 bytes. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text, "utf8");
}
