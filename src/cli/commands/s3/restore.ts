/** `hawser s3 restore`: makes archived objects readable for some days. */
import { toHawserError } from "../../../common/errors.ts";
import { isGlob } from "../../../common/glob.ts";
import type { Milliseconds } from "../../../common/units.ts";
import { formatS3 } from "../../../transfer/address.ts";
import type { S3Address } from "../../../transfer/address.ts";
import type { Connection } from "../../../transfer/connection.ts";
import { createFilter } from "../../../transfer/filter.ts";
import type { Filter } from "../../../transfer/filter.ts";
import { inLanes } from "../../../transfer/lanes.ts";
import { selectForRemoval as select } from "../../../transfer/remove.ts";
import {
  RESTORE_TIERS,
  isArchived,
  requestRestore,
  waitRestored,
} from "../../../transfer/restore-archived.ts";
import type { RestoreState, RestoreTier } from "../../../transfer/restore-archived.ts";
import type { Command } from "../../command.ts";
import { EXIT, exitCodeOf } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection, wholeNumber } from "../../s3-connection.ts";
import { FILTER_OPTIONS, filterRules } from "../../s3-copy.ts";
import { BUCKET_OPTIONS, durationOption, objectAddress, someAddresses } from "../../s3/arguments.ts";
import type { Terminal } from "../../terminal.ts";

const DAYS = 7;
/** A restore takes minutes to days. */
const POLL_MS: Milliseconds = 60_000;
const AT_ONCE = 16;

export const command: Command = {
  usage: ["s3://BUCKET/KEY..."],
  description:
    "Asks the store for copies of archived objects (Glacier, Deep Archive) that can be read for some days. What is not " +
    "archived is left as it is. With --wait it ends when all of them can be read.",
  options: {
    ...BUCKET_OPTIONS,
    recursive: { type: "boolean", alias: "r", describe: "What lies below the prefix" },
    ...FILTER_OPTIONS,
    days: { type: "string", value: "N", describe: `How long the copies stay; ${DAYS} when absent` },
    tier: {
      type: "string",
      choices: RESTORE_TIERS,
      describe: "How fast, and at what price; Standard when absent",
    },
    wait: { type: "boolean", describe: "Wait until they can be read, which may take hours" },
    "poll-interval": { type: "string", value: "TIME", describe: "How often --wait asks; 1m when absent" },
  },
  examples: [
    ["s3 restore s3://bucket/old/model.pt", "One object, for a week"],
    ["s3 restore -r s3://bucket/2021 --days 30 --tier Bulk", "A folder, cheaply"],
    ["s3 restore --wait s3://bucket/old/model.pt", "End when it can be read"],
  ],
  async run(args, terminal) {
    const addresses = someAddresses("restore", args);
    const recursive = args.flag("recursive");
    for (const { bucket, key } of addresses) {
      if (!recursive && !isGlob(key)) objectAddress("restore", formatS3(bucket, key));
    }
    const run: RestoreRun = {
      days: wholeNumber(args, "days") ?? DAYS,
      tier: RESTORE_TIERS.find((tier) => tier === args.text("tier")) ?? "Standard",
      pollMs: args.flag("wait") ? (durationOption(args, "poll-interval") ?? POLL_MS) : undefined,
      json: args.flag("json"),
      terminal,
      code: EXIT.ok,
    };
    const filter = createFilter(filterRules(args));
    await using connection = openConnection(args);
    return await interruptible(async (signal) => {
      for (const address of addresses)
        await restoreAll(connection, address, { recursive, filter, signal }, run);
      return signal.aborted ? EXIT.interrupted : run.code;
    });
  },
};

interface RestoreRun {
  days: number;
  tier: RestoreTier;
  pollMs: Milliseconds | undefined;
  json: boolean;
  terminal: Terminal;
  /** That of the last failure. */
  code: number;
}

async function restoreAll(
  connection: Connection,
  address: S3Address,
  selection: { recursive: boolean; filter: Filter; signal: AbortSignal },
  run: RestoreRun,
): Promise<void> {
  const store = await connection.store(address.bucket);
  const { signal, recursive } = selection;
  const { days, tier, pollMs, json, terminal } = run;
  const single = !recursive && !isGlob(address.key);
  const pages = single
    ? [[await store.head(address.key, { reason: "bulk", signal })]]
    : select(store, address, selection);
  await inLanes(pages, AT_ONCE, signal, async (object) => {
    const uri = formatS3(address.bucket, object.key);
    if (!single && !isArchived(object)) return;
    try {
      let state: RestoreState = isArchived(object)
        ? await requestRestore(store, object.key, { days, tier, signal })
        : "not-archived";
      if (state === "restoring" && pollMs !== undefined) {
        if (!json) terminal.err(`hawser: waiting for ${uri}`);
        await waitRestored(store, object.key, { pollMs, signal });
        state = "restored";
      }
      if (json) terminal.out(JSON.stringify({ type: state, uri }));
      else terminal.out(`${uri}: ${STATES[state]}`);
    } catch (error) {
      if (signal.aborted) return;
      const failure = toHawserError(error);
      const { code, message } = failure;
      run.code = exitCodeOf(failure);
      if (json) terminal.out(JSON.stringify({ type: "failed", uri, code, message }));
      else terminal.err(`${terminal.paintErr("red", "failed:")} ${message}`);
    }
  });
}

const STATES: Record<RestoreState, string> = {
  "not-archived": "it is not archived",
  restoring: "it is being restored",
  restored: "it can be read",
};
