/** How an object is cut into parts. Pure. */
import { HawserError } from "../common/errors.ts";
import { GiB, MiB, formatBytes } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { PRESETS } from "../store/presets.ts";
import type { StoragePreset } from "../store/presets.ts";

export const MAX_PARTS = 10_000;
/** What no store takes more of in one part or PUT. */
export const MAX_PART: Bytes = 5 * GiB;

/** The wanted size, or as much larger (in whole MiB) as 10,000 parts demand. */
export function partSizeFor(sizeBytes: Bytes, wanted: Bytes): Bytes {
  const needed = Math.ceil(sizeBytes / MAX_PARTS);
  return needed <= wanted ? wanted : Math.ceil(needed / MiB) * MiB;
}

/** @throws HawserError `too_large` for what a store's object cannot hold */
export function checkObjectSize(what: string, sizeBytes: Bytes, storage: StoragePreset): void {
  const { title, maxObjectBytes } = PRESETS[storage];
  if (sizeBytes <= maxObjectBytes) return;
  throw new HawserError(
    "too_large",
    `${what} has ${formatBytes(sizeBytes)}, and an object of ${title} ${formatBytes(maxObjectBytes)} at most.`,
  );
}

/**
 * The size of part `number` (from 1) of a stream whose length nobody knows: it doubles every 1000 parts, so that the
 * first ones need little memory and 10,000 of them are more than an object can hold.
 */
export function streamPartSize(number: number, first: Bytes): Bytes {
  return first * 2 ** Math.floor((number - 1) / 1000);
}
