/** CRC32, CRC32C and CRC64NVME: the addon's at memory speed where it is built, tables otherwise. */
import { crc32 as zlibCrc32 } from "node:zlib";
import { tryNative } from "../common/native.ts";

/** `previous` is the result so far, 0 at the start. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  const addon = tryNative();
  return addon ? addon.crc32c(bytes, previous) : crc32cByTable(bytes, previous);
}

export function crc64nvme(bytes: Uint8Array, previous = 0n): bigint {
  const addon = tryNative();
  return addon ? addon.crc64nvme(bytes, previous) : crc64nvmeByTable(bytes, previous);
}

/** undefined on a Node without it (before 20.15). */
export const crc32: ((bytes: Uint8Array, previous?: number) => number) | undefined = zlibCrc32;

/** Big-endian base64, as S3 writes a CRC of 32 bits. */
export function base64Of32(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString("base64");
}

export function base64Of64(crc: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(crc);
  return bytes.toString("base64");
}

const CASTAGNOLI = Uint32Array.from({ length: 256 }, (_none, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

export function crc32cByTable(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (let at = 0; at < bytes.length; at++) crc = CASTAGNOLI[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

const NVME = BigUint64Array.from({ length: 256 }, (_none, index) => {
  let crc = BigInt(index);
  for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x9a6c9329ac4bc9b5n : crc >> 1n;
  return crc;
});

const ALL_64 = 0xffffffffffffffffn;

/** Slow: bigints. Only where there is no addon. */
export function crc64nvmeByTable(bytes: Uint8Array, previous = 0n): bigint {
  let crc = previous ^ ALL_64;
  for (let at = 0; at < bytes.length; at++) {
    crc = NVME[Number((crc ^ BigInt(bytes[at]!)) & 0xffn)]! ^ (crc >> 8n);
  }
  return crc ^ ALL_64;
}
