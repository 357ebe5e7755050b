/** Arguments that commands of `hawser s3` have in common. */
import { HawserError } from "../../common/errors.ts";
import { parseDuration, parseSize } from "../../common/units.ts";
import type { Bytes, Milliseconds } from "../../common/units.ts";
import { parseS3Address } from "../../transfer/address.ts";
import type { S3Address } from "../../transfer/address.ts";
import type { Arguments, Option } from "../command.ts";
import { usageError } from "../parse.ts";
import { STORE_OPTIONS } from "../store-options.ts";

const JSON_OPTION = { type: "boolean", describe: "Print JSON, a line for each result" } as const;

/** For commands that carry no content worth a limit. */
export const BUCKET_OPTIONS = { ...STORE_OPTIONS, json: JSON_OPTION } as const satisfies Record<
  string,
  Option
>;

export const YES_OPTION = {
  type: "boolean",
  alias: "y",
  describe: "Do not ask",
} as const satisfies Option;

/** Addresses of any number of places. @throws HawserError `invalid_argument` when there is none */
export function someAddresses(name: string, args: Arguments): S3Address[] {
  if (args.positionals.length === 0) throw usageError(`s3 ${name}`, "Say which s3://bucket/key");
  return args.positionals.map(parseS3Address);
}

/** @throws HawserError `invalid_argument` */
export function oneAddress(name: string, args: Arguments): S3Address {
  if (args.positionals.length !== 1) throw usageError(`s3 ${name}`, "Say one s3://bucket or s3://bucket/key");
  return parseS3Address(args.positionals[0]!);
}

/** @throws HawserError `invalid_argument` for a bucket alone, or a folder */
export function objectAddress(name: string, text: string | undefined): S3Address {
  if (text === undefined) throw usageError(`s3 ${name}`, "Say which object: s3://bucket/key");
  const address = parseS3Address(text);
  if (address.key === "" || address.key.endsWith("/")) {
    throw usageError(`s3 ${name}`, `'${text}' is no object; write its whole key: s3://bucket/key`);
  }
  return address;
}

/** @throws HawserError `invalid_argument` for a key behind the bucket */
export function bucketAddress(name: string, text: string | undefined): S3Address {
  if (text === undefined) throw usageError(`s3 ${name}`, "Say which bucket: s3://bucket");
  const address = parseS3Address(text);
  if (address.key !== "")
    throw usageError(`s3 ${name}`, `'${text}' is no bucket; write s3://${address.bucket}`);
  return { ...address, key: "" };
}

/** @throws HawserError `invalid_argument` that names the option */
export function durationOption(args: Arguments, option: string): Milliseconds | undefined {
  return parsedOption(args, option, parseDuration);
}

/** @throws HawserError `invalid_argument` that names the option */
export function sizeOption(args: Arguments, option: string): Bytes | undefined {
  return parsedOption(args, option, parseSize);
}

function parsedOption(args: Arguments, option: string, parse: (text: string) => number): number | undefined {
  const text = args.text(option);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (error) {
    if (!HawserError.is(error)) throw error;
    throw new HawserError("invalid_argument", `--${option}: ${error.message}`);
  }
}

/** A whole number of at least 0. @throws HawserError `invalid_argument` */
export function countOption(args: Arguments, option: string): number | undefined {
  const text = args.text(option);
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text.trim())) return Number(text);
  throw new HawserError("invalid_argument", `--${option}: '${text}' is not a whole number.`);
}

/** `2026-11-22 07:16:45`, in local time. */
export function formatTime(ms: number): string {
  const date = new Date(ms);
  const two = (value: number): string => (value < 10 ? `0${value}` : String(value));
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `1 object`, `1,234 objects`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}
