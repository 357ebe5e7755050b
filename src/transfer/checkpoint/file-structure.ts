/**
 * Is a file of weights whole? Told from its beginning and its end, where its format says how long it is: torch.save's ZIP
 * archives and safetensors. Other formats tell nothing, and a file of them counts as unknown.
 */
import type { Bytes } from "../../common/units.ts";

/** Reads a range; fewer bytes at the end of the file. */
export type ReadRange = (offset: Bytes, length: Bytes) => Promise<Uint8Array>;

export type Structure = "whole" | "torn" | "unknown";

const ZIP_LOCAL = 0x04034b50;
const ZIP_END = 0x06054b50;
const ZIP64_LOCATOR = 0x07064b50;
const ZIP64_END = 0x06064b50;
const ZIP_CENTRAL = 0x02014b50;
/** The end record, the longest comment and the locator in front of it. */
const ZIP_TAIL: Bytes = 22 + 65_535 + 20;
/** A header of safetensors is a table of names; the library itself refuses longer ones. */
const LONGEST_HEADER: Bytes = 100_000_000;

/** @param name decides about safetensors, which has no magic number */
export async function structureOf(name: string, sizeBytes: Bytes, read: ReadRange): Promise<Structure> {
  if (sizeBytes === 0) return "torn";
  if (/\.safetensors$/i.test(name)) return await safetensors(sizeBytes, read);
  const head = viewOf(await read(0, Math.min(4, sizeBytes)));
  if (head.byteLength < 4 || head.getUint32(0, true) !== ZIP_LOCAL) return "unknown";
  return await zip(sizeBytes, read);
}

async function zip(sizeBytes: Bytes, read: ReadRange): Promise<Structure> {
  const from = Math.max(0, sizeBytes - ZIP_TAIL);
  const bytes = await read(from, sizeBytes - from);
  const tail = viewOf(bytes);
  for (let at = bytes.length - 22; at >= 0; at--) {
    if (tail.getUint32(at, true) !== ZIP_END || at + 22 + tail.getUint16(at + 20, true) !== bytes.length)
      continue;
    const directory = {
      sizeBytes: tail.getUint32(at + 12, true),
      offset: tail.getUint32(at + 16, true),
      end: from + at,
    };
    const isLarge = at >= 20 && tail.getUint32(at - 20, true) === ZIP64_LOCATOR;
    const place = isLarge
      ? await zip64(Number(tail.getBigUint64(at - 12, true)), sizeBytes, read)
      : directory;
    if (!place || place.offset + place.sizeBytes > place.end) return "torn";
    if (place.sizeBytes === 0) return "whole";
    const first = viewOf(await read(place.offset, 4));
    return first.byteLength === 4 && first.getUint32(0, true) === ZIP_CENTRAL ? "whole" : "torn";
  }
  return "torn";
}

async function zip64(
  at: Bytes,
  sizeBytes: Bytes,
  read: ReadRange,
): Promise<{ sizeBytes: Bytes; offset: Bytes; end: Bytes } | undefined> {
  if (at + 56 > sizeBytes) return undefined;
  const record = viewOf(await read(at, 56));
  if (record.byteLength < 56 || record.getUint32(0, true) !== ZIP64_END) return undefined;
  return {
    sizeBytes: Number(record.getBigUint64(40, true)),
    offset: Number(record.getBigUint64(48, true)),
    end: at,
  };
}

/** Eight bytes of length, a table in JSON, and the tensors, whose offsets count from there. */
async function safetensors(sizeBytes: Bytes, read: ReadRange): Promise<Structure> {
  const head = viewOf(await read(0, 8));
  if (head.byteLength < 8) return "torn";
  const length = Number(head.getBigUint64(0, true));
  if (length > LONGEST_HEADER || 8 + length > sizeBytes) return "torn";
  let table: unknown;
  try {
    table = JSON.parse(Buffer.from(await read(8, length)).toString("utf8"));
  } catch {
    return "torn";
  }
  let end = 0;
  for (const entry of Object.values(table as Record<string, unknown>)) {
    const offsets = (entry as { data_offsets?: unknown } | null)?.data_offsets;
    if (Array.isArray(offsets) && typeof offsets[1] === "number") end = Math.max(end, offsets[1]);
  }
  return 8 + length + end === sizeBytes ? "whole" : "torn";
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
