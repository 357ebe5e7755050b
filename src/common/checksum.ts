/** Checksums at memory speed, by the addon. */
import { native } from "./native.ts";

/**
 * CRC32C (Castagnoli) of `bytes`, continuing from `previous`.
 *
 * @returns an unsigned 32-bit number
 * @throws HawserError `addon_missing`
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  return native().crc32c(bytes, previous);
}
