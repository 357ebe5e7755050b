/**
 * What every command of `hawser s3` takes: where the store is, how it is reached, and how much is done at once.
 *
 * Options that describe the store are those of a volume and go through the same schema.
 */
import { HawserError } from "../common/errors.ts";
import { parseSize } from "../common/units.ts";
import { parseVolume } from "../config/volume.ts";
import { resolveConfigured } from "../daemon/credentials.ts";
import { Connection } from "../transfer/connection.ts";
import type { Arguments, Option } from "./command.ts";
import { STORE_OPTIONS, rawVolume } from "./volume-options.ts";

const TRANSFER = "Transfer";

/** For every command of `hawser s3`. */
export const CONNECTION_OPTIONS = {
  ...STORE_OPTIONS,
  concurrency: {
    type: "string",
    value: "N",
    describe: "Files and requests at once; 64 when absent",
    group: TRANSFER,
  },
  "part-size": {
    type: "string",
    value: "SIZE",
    describe: "Bytes of one part or range of a large object, e.g. 64MiB",
    group: TRANSFER,
  },
  "max-rate": {
    type: "string",
    value: "RATE",
    describe: "Bytes a second of all copies together, e.g. 100MB",
    group: TRANSFER,
  },
  engine: {
    type: "string",
    choices: ["lean", "sdk"],
    describe: "What carries content: our own client, or the AWS SDK",
    group: TRANSFER,
  },
  "no-use-s5cmd": { type: "boolean", describe: "The same as --engine sdk", group: TRANSFER, hidden: true },
  json: { type: "boolean", describe: "Print JSON: a line for each event, and the result last" },
} as const satisfies Record<string, Option>;

/** Opens what the options describe. Sends nothing. @throws HawserError `invalid_argument` */
export function openConnection(args: Arguments): Connection {
  // The schema describes mounts; bucket and path are not looked at.
  const volume = parseVolume({ ...rawVolume(args), bucket: "unnamed", mount: "/mnt/unmounted" });
  const { storage, region, endpoint, addressing, accountId, requesterPays } = volume;
  return new Connection({
    storage,
    region,
    endpoint,
    addressing,
    accountId,
    requestPayer: requesterPays,
    ...resolveConfigured(volume.credentials, process.env),
    engine: args.flag("no-use-s5cmd") || args.text("engine") === "sdk" ? "sdk" : "lean",
    concurrency: wholeNumber(args, "concurrency"),
    partSizeBytes: sizeOption(args, "part-size"),
    maxRateBytes: sizeOption(args, "max-rate", /\/s$/),
  });
}

/** @throws HawserError `invalid_argument` */
export function wholeNumber(args: Arguments, option: string): number | undefined {
  const text = args.text(option);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && /^\d+$/.test(text.trim())) return value;
  throw new HawserError("invalid_argument", `--${option}: '${text}' is not a whole number of at least 1.`);
}

function sizeOption(args: Arguments, option: string, unit = /$^/): number | undefined {
  const text = args.text(option);
  if (text === undefined) return undefined;
  try {
    return parseSize(text.replace(unit, ""));
  } catch (error) {
    if (!HawserError.is(error)) throw error;
    throw new HawserError("invalid_argument", `--${option}: ${error.message}`);
  }
}
