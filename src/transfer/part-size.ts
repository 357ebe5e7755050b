/** How an object is cut into parts. Pure. */
import { HawserError } from "../common/errors.ts";
import { GiB, MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";

export const MAX_PARTS = 10_000;
/** S3's largest object. */
export const MAX_OBJECT: Bytes = 50_000 * GiB;

/**
 * The wanted size, or as much larger (in whole MiB) as 10,000 parts demand.
 *
 * @throws HawserError `too_large` for what no object can be
 */
export function partSizeFor(sizeBytes: Bytes, wanted: Bytes): Bytes {
  if (sizeBytes > MAX_OBJECT) {
    throw new HawserError("too_large", `${sizeBytes} bytes are more than an object can hold (50,000 GiB).`);
  }
  const needed = Math.ceil(sizeBytes / MAX_PARTS);
  return needed <= wanted ? wanted : Math.ceil(needed / MiB) * MiB;
}

/**
 * The size of part `number` (from 1) of a stream whose length nobody knows: it doubles every 1000 parts, so that the
 * first ones need little memory and 10,000 of them are more than an object can hold.
 */
export function streamPartSize(number: number, first: Bytes): Bytes {
  return first * 2 ** Math.floor((number - 1) / 1000);
}
