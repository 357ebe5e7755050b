/**
 * Units in types: a number's name or type says what it counts.
 *
 * Parsing accepts what people type in flags and in hawser.yaml; formatting is what tables and progress show.
 */
import { HawserError } from "./errors.ts";

/** A count of bytes, an integer from 0 to 2^53 - 1. */
export type Bytes = number;
/** A duration in milliseconds. */
export type Milliseconds = number;
/** Milliseconds since 1970-01-01T00:00Z. */
export type EpochMs = number;

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

const SIZE_UNITS: Record<string, number> = {
  "": 1,
  b: 1,
  k: KiB,
  kb: 1e3,
  kib: KiB,
  m: MiB,
  mb: 1e6,
  mib: MiB,
  g: GiB,
  gb: 1e9,
  gib: GiB,
  t: TiB,
  tb: 1e12,
  tib: TiB,
};

/**
 * Parses a size such as `50GiB`, `1.5G`, `500MB` or `1048576`. One letter means the binary unit, as in dd and fio.
 *
 * @returns whole bytes
 * @throws HawserError `invalid_argument` when the text is no size
 */
export function parseSize(text: string | number): Bytes {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$/.exec(String(text));
  const unit = match && SIZE_UNITS[match[2]!.toLowerCase()];
  const bytes = match && unit ? Math.round(Number(match[1]) * unit) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new HawserError("invalid_argument", `'${text}' is not a size; write for example 512MiB or 50GiB.`);
  }
  return bytes;
}

const DURATION_UNITS: Record<string, number> = {
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3600e3,
  d: 86400e3,
  w: 7 * 86400e3,
};

/**
 * Parses a duration such as `500ms`, `60s`, `1h30m` or `7d`; a bare number is seconds.
 *
 * @returns milliseconds
 * @throws HawserError `invalid_argument` when the text is no duration
 */
export function parseDuration(text: string | number): Milliseconds {
  const trimmed = String(text).trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  let total = 0;
  const rest = trimmed.replace(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g, (_all, count: string, unit: string) => {
    total += Number(count) * DURATION_UNITS[unit]!;
    return "";
  });
  if (trimmed === "" || rest !== "") {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is not a duration; write for example 30s, 15m or 8h.`,
    );
  }
  return Math.round(total);
}

/** `1536` -> `1.5 KiB`. */
export function formatBytes(bytes: Bytes): string {
  if (bytes < KiB) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes / KiB;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** `93_784_000` -> `1d 2h 3m`; the two or three largest units, at least one second apart. */
export function formatDuration(ms: Milliseconds): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 1000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 3)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(" ");
}
