/** What `hawser s3 cp`, `upload`, `download` and `mv` share: they are one copy with other conditions. */
import { HawserError } from "../common/errors.ts";
import { copy } from "../transfer/copy.ts";
import type { FilterRule } from "../transfer/filter.ts";
import type { ObjectOptions } from "../transfer/object-options.ts";
import type { CopyOptions } from "../transfer/route.ts";
import type { Arguments, Option } from "./command.ts";
import { interruptible } from "./interrupt.ts";
import { usageError } from "./parse.ts";
import { CONNECTION_OPTIONS, openConnection } from "./s3-connection.ts";
import { processStreams } from "./streams.ts";
import type { Terminal } from "./terminal.ts";
import { reportTransfer } from "./transfer-report.ts";

const OBJECTS = "New objects";
const FILES = "Files";

/** Which files: for every command that takes folders and prefixes. */
export const FILTER_OPTIONS = {
  include: {
    type: "strings",
    value: "GLOB",
    describe: "Take what matches; the last of --include and --exclude that matches decides",
    group: FILES,
  },
  exclude: { type: "strings", value: "GLOB", describe: "Leave out what matches", group: FILES },
} as const satisfies Record<string, Option>;

/** For every command that makes objects. */
export const OBJECT_OPTIONS = {
  "storage-class": {
    type: "string",
    value: "CLASS",
    describe: "Storage class, e.g. STANDARD_IA",
    group: OBJECTS,
  },
  sse: {
    type: "string",
    choices: ["AES256", "aws:kms"],
    describe: "Encryption at rest",
    group: OBJECTS,
  },
  "sse-kms-key-id": { type: "string", value: "KEY", describe: "KMS key, with --sse aws:kms", group: OBJECTS },
  acl: { type: "string", value: "ACL", describe: "Canned ACL", group: OBJECTS },
  tags: { type: "string", value: "TAGS", describe: "Tags: KEY=VALUE,KEY=VALUE", group: OBJECTS },
  metadata: {
    type: "string",
    value: "PAIRS",
    describe: "User metadata: KEY=VALUE,KEY=VALUE",
    group: OBJECTS,
  },
  "content-type": {
    type: "string",
    value: "TYPE",
    describe: "Content type; by the file's extension when absent",
    group: OBJECTS,
  },
} as const satisfies Record<string, Option>;

export const COPY_OPTIONS = {
  recursive: {
    type: "boolean",
    alias: "r",
    describe: "Take what lies below folders and prefixes",
    group: FILES,
  },
  ...FILTER_OPTIONS,
  "no-clobber": { type: "boolean", alias: "n", describe: "Leave what is there already", group: FILES },
  "dry-run": { type: "boolean", describe: "Say what would be done, and do nothing" },
  quiet: { type: "boolean", alias: "q", describe: "Say nothing but failures" },
  ...OBJECT_OPTIONS,
  ...CONNECTION_OPTIONS,
} as const satisfies Record<string, Option>;

/** Runs one of them. @returns the exit code */
export async function runCopy(
  name: string,
  args: Arguments,
  terminal: Terminal,
  more: Pick<CopyOptions, "move"> = {},
): Promise<number> {
  const { positionals } = args;
  if (positionals.length < 2)
    throw usageError(`s3 ${name}`, "Say what to copy and where to: SOURCE... TARGET");
  const label = more.move ? "Moving" : "Copying";
  const report = reportTransfer(terminal, {
    label,
    json: args.flag("json"),
    verbose: terminal.verbose,
    quiet: args.flag("quiet"),
  });
  await using connection = openConnection(args);
  const summary = await interruptible((signal) =>
    copy(connection, positionals.slice(0, -1), positionals.at(-1)!, {
      ...objectOptions(args),
      ...more,
      recursive: args.flag("recursive"),
      rules: filterRules(args),
      keepExisting: args.flag("no-clobber"),
      dryRun: args.flag("dry-run"),
      streams: processStreams(),
      signal,
      onEvent: (event) => report.onEvent(event),
    }),
  );
  return report.finish(summary);
}

/** `--include` and `--exclude`, in the order in which they were typed. */
export function filterRules(args: Arguments): FilterRule[] {
  return args.ordered("include", "exclude").map(({ option, value }) => ({
    kind: option === "include" ? "include" : "exclude",
    pattern: value,
  }));
}

/** @throws HawserError `invalid_argument` */
export function objectOptions(args: Arguments): ObjectOptions {
  const sse = args.text("sse");
  return {
    storageClass: args.text("storage-class"),
    sse: sse === "AES256" || sse === "aws:kms" ? sse : undefined,
    sseKmsKeyId: args.text("sse-kms-key-id"),
    acl: args.text("acl"),
    tags: pairs(args, "tags"),
    metadata: pairs(args, "metadata"),
    contentType: args.text("content-type"),
  };
}

function pairs(args: Arguments, option: string): Record<string, string> | undefined {
  const text = args.text(option);
  if (text === undefined) return undefined;
  const entries = text.split(",").map((pair): [string, string] => {
    const at = pair.indexOf("=");
    if (at < 1) {
      throw new HawserError("invalid_argument", `--${option}: '${pair}' is not KEY=VALUE.`);
    }
    return [pair.slice(0, at).trim(), pair.slice(at + 1)];
  });
  return Object.fromEntries(entries);
}
