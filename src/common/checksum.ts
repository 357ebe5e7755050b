/**
 * The checksums S3 keeps of objects and parts, incremental: each call takes the result so far, 0 at the start.
 *
 * The addon does them at memory speed; without it they are computed here, some fifty times slower, so that everything
 * but a fast mount works on any machine.
 */
import { tryNative } from "./native.ts";

const CRC32C_POLYNOMIAL = 0x82f6_3b78;
const CRC64NVME_POLYNOMIAL = 0x9a6c_9329_ac4b_c9b5n;

/** CRC32C (Castagnoli) of `previous`'s bytes followed by `bytes`. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  return tryNative()?.crc32c(bytes, previous) ?? crc32cByTable(bytes, previous);
}

/** CRC64NVME of `previous`'s bytes followed by `bytes`. */
export function crc64nvme(bytes: Uint8Array, previous = 0n): bigint {
  return tryNative()?.crc64nvme(bytes, previous) ?? crc64nvmeByTable(bytes, previous);
}

/** As in `x-amz-checksum-crc32c`: base64 of the big-endian bytes. */
export function crc32cBase64(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString("base64");
}

/** As in `x-amz-checksum-crc64nvme`. */
export function crc64nvmeBase64(crc: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(crc);
  return bytes.toString("base64");
}

const crc32cTable = lazy(() =>
  Uint32Array.from({ length: 256 }, (_zero, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CRC32C_POLYNOMIAL : crc >>> 1;
    return crc;
  }),
);

/** The table in halves: 64-bit integers in JS are slow to compute with. */
const crc64Tables = lazy(() => {
  const low = new Uint32Array(256);
  const high = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ CRC64NVME_POLYNOMIAL : crc >> 1n;
    low[byte] = Number(crc & 0xffff_ffffn);
    high[byte] = Number(crc >> 32n);
  }
  return { low, high };
});

/** The same without the addon. */
export function crc32cByTable(bytes: Uint8Array, previous: number): number {
  const table = crc32cTable();
  let crc = ~previous;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}

/** The same without the addon. */
export function crc64nvmeByTable(bytes: Uint8Array, previous: bigint): bigint {
  const tables = crc64Tables();
  let low = ~Number(previous & 0xffff_ffffn);
  let high = ~Number(previous >> 32n);
  for (let i = 0; i < bytes.length; i++) {
    const index = (low ^ bytes[i]!) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ tables.low[index]!;
    high = (high >>> 8) ^ tables.high[index]!;
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0);
}

function lazy<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
