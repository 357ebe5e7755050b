/**
 * Times in object metadata: seconds in decimal, with a fraction where there is one.
 *
 * That is how s3fs and rclone write them. A double holds a time of today to about a quarter of a microsecond, so whole
 * microseconds are what survives being written and read again; everything that shows a time rounds to them first.
 */
import type { EpochMs } from "./units.ts";

/** Rounds down to whole microseconds. */
export function wholeMicroseconds(ms: EpochMs): EpochMs {
  return Math.floor(ms * 1000) / 1000;
}

/** `1700000000.123456`, without trailing zeros. */
export function formatObjectTime(ms: EpochMs): string {
  const micros = Math.floor(ms * 1000);
  const seconds = Math.floor(micros / 1e6);
  const fraction = micros - seconds * 1e6;
  // Before 1970 the fraction still counts up: the text is the number itself.
  if (seconds < 0 && fraction > 0) return formatNegative(seconds, fraction);
  return fraction === 0 ? String(seconds) : `${seconds}.${padded(fraction)}`;
}

function formatNegative(seconds: number, fraction: number): string {
  return `-${-(seconds + 1)}.${padded(1e6 - fraction)}`;
}

function padded(fraction: number): string {
  return String(fraction).padStart(6, "0").replace(/0+$/, "");
}

/** @returns undefined for what is no such time */
export function parseObjectTime(text: string): EpochMs | undefined {
  const match = /^(-?)(\d{1,12})(?:\.(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const micros = Number(match[2]) * 1e6 + Number((match[3] ?? "").slice(0, 6).padEnd(6, "0"));
  return (match[1] === "" ? micros : -micros) / 1000;
}
