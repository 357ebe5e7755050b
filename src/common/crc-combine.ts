/**
 * The CRC of two pieces from the CRCs of each: what lets pieces that arrive in any order be verified as one.
 *
 * A CRC is a remainder of polynomials over GF(2). Appending `length` bytes multiplies what came before by x^(8·length),
 * so the whole's remainder is crc(a)·x^(8·length) + crc(b). The polynomials are reflected: bit 0 is the highest power.
 */
import type { Bytes } from "./units.ts";

export interface CrcCombiner {
  /** The CRC of `first`'s bytes followed by `length` bytes whose CRC is `second`. */
  combine(first: bigint, second: bigint, length: Bytes): bigint;
}

/** CRC32C (Castagnoli). */
export const CRC32C_POLYNOMIAL = 0x82f6_3b78n;
/** CRC64NVME. */
export const CRC64NVME_POLYNOMIAL = 0x9a6c_9329_ac4b_c9b5n;

/** A combiner for CRCs of `width` bits. It remembers what it computed for a length: ranges are of one or two. */
export function crcCombiner(width: 32 | 64, polynomial: bigint): CrcCombiner {
  const top = 1n << BigInt(width - 1);
  const powers = new Map<Bytes, bigint>();

  /** Product of two polynomials modulo the CRC's. */
  const multiply = (a: bigint, b: bigint): bigint => {
    let product = 0n;
    let factor = b;
    for (let bit = top; bit !== 0n; bit >>= 1n) {
      if ((a & bit) !== 0n) product ^= factor;
      factor = (factor & 1n) === 1n ? (factor >> 1n) ^ polynomial : factor >> 1n;
    }
    return product;
  };

  /** x^(8·length), by squaring. */
  const shift = (length: Bytes): bigint => {
    const known = powers.get(length);
    if (known !== undefined) return known;
    // In the reflected form 1 is the top bit, and x the one below.
    let result = top;
    let square = top >> 1n;
    for (let left = BigInt(length) * 8n; left > 0n; left >>= 1n) {
      if ((left & 1n) === 1n) result = multiply(result, square);
      square = multiply(square, square);
    }
    powers.set(length, result);
    return result;
  };

  return { combine: (first, second, length) => multiply(shift(length), first) ^ second };
}
