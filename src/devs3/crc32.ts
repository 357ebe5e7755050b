/** CRC32 (ISO 3309): Node's own where it has one, from 20.15 on, and by a table before. */
import * as zlib from "node:zlib";

const POLYNOMIAL = 0xedb88320;

const TABLE = Uint32Array.from({ length: 256 }, (_zero, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

/** The same without Node's. */
export function crc32ByTable(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}

/** CRC32 of `previous`'s bytes followed by `bytes`. */
export const crc32: (bytes: Uint8Array, previous?: number) => number =
  (zlib as { crc32?: typeof crc32ByTable }).crc32 ?? crc32ByTable;
