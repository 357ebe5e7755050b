/**
 * What every command of `hawser s3` takes: where the store is, how it is reached, and how much is done at once.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { HawserError } from "../common/errors.ts";
import { parseSize } from "../common/units.ts";
import { STORAGE_PRESETS } from "../store/presets.ts";
import { Connection, DEFAULT_MEMORY } from "../transfer/connection.ts";
import type { ConnectionOptions } from "../transfer/connection.ts";
import { Room } from "../transfer/room.ts";
import type { Arguments, Option } from "./command.ts";
import { STORE_OPTIONS } from "./store-options.ts";

const TRANSFER = "Transfer";

/** For every command of `hawser s3`. */
export const CONNECTION_OPTIONS = {
  ...STORE_OPTIONS,
  concurrency: {
    type: "string",
    value: "N",
    describe: "Files and requests at once; 128 when absent",
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
  return new Connection({ ...storeOptions(args), ...transferOptions(args), room: rooms.getStore() });
}

const rooms = new AsyncLocalStorage<Room>();

/** Runs `work`; all commands in it share the memory for content that one has alone. */
export async function inOneRoom<T>(work: () => Promise<T>): Promise<T> {
  return await rooms.run(rooms.getStore() ?? new Room(DEFAULT_MEMORY), work);
}

/** Options as they are: the schema of volumes, which checks the same, takes longer to load than most commands take. */
function storeOptions(args: Arguments): ConnectionOptions {
  const profile = args.text("profile");
  const region = args.text("region");
  const anonymous = args.flag("no-sign-request");
  if (anonymous && profile !== undefined) {
    throw new HawserError("invalid_argument", "--no-sign-request and --profile contradict each other.");
  }
  if (region !== undefined && !/^[A-Za-z0-9-]+$/.test(region)) {
    throw new HawserError("invalid_argument", `--region: '${region}' is not a region such as eu-central-1.`);
  }
  const addressing = args.text("addressing");
  return {
    storage: STORAGE_PRESETS.find((preset) => preset === args.text("storage")),
    region,
    endpoint: args.text("endpoint"),
    addressing: addressing === "virtual" || addressing === "path" ? addressing : undefined,
    accountId: args.text("account-id"),
    requestPayer: args.flag("requester-pays"),
    profile,
    credentials: anonymous ? "anonymous" : undefined,
  };
}

function transferOptions(args: Arguments): ConnectionOptions {
  return {
    engine: args.flag("no-use-s5cmd") || args.text("engine") === "sdk" ? "sdk" : "lean",
    concurrency: wholeNumber(args, "concurrency"),
    partSizeBytes: sizeOption(args, "part-size"),
    maxRateBytes: sizeOption(args, "max-rate", /\/s$/),
    callerReceives: true,
  };
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
