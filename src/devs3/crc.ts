/** CRC32, CRC32C and CRC64NVME by tables. */
import { crc32 as zlibCrc32 } from "node:zlib";

function table32(polynomial: number): Uint32Array {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ polynomial : c >>> 1;
    table[i] = c >>> 0;
  }
  return table;
}

const CASTAGNOLI = table32(0x82f63b78);

export function crc32(bytes: Uint8Array, previous = 0): number {
  return zlibCrc32(bytes, previous);
}

export function crc32c(bytes: Uint8Array, previous = 0): number {
  let c = ~previous >>> 0;
  for (let i = 0; i < bytes.length; i++) c = (c >>> 8) ^ CASTAGNOLI[(c ^ bytes[i]!) & 0xff]!;
  return ~c >>> 0;
}

const NVME_HIGH = new Uint32Array(256);
const NVME_LOW = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let high = 0;
  let low = i;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (carry) {
      high ^= 0x9a6c9329;
      low ^= 0xac4bc9b5;
    }
  }
  NVME_HIGH[i] = high >>> 0;
  NVME_LOW[i] = low >>> 0;
}

export function crc64nvme(bytes: Uint8Array, previous = 0n): bigint {
  let high = ~Number(previous >> 32n) >>> 0;
  let low = ~Number(previous & 0xffffffffn) >>> 0;
  for (let i = 0; i < bytes.length; i++) {
    const at = (low ^ bytes[i]!) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ NVME_LOW[at]!;
    high = (high >>> 8) ^ NVME_HIGH[at]!;
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0);
}
