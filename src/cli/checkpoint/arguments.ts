/** Arguments that commands of `hawser checkpoint` have in common. */
import type { FindOptions } from "../../transfer/checkpoint/find.ts";
import type { KeepOptions } from "../../transfer/checkpoint/checkpoints.ts";
import type { Arguments, Option } from "../command.ts";
import { usageError } from "../parse.ts";
import { CONNECTION_OPTIONS, wholeNumber } from "../s3-connection.ts";
import { durationOption } from "../s3/arguments.ts";

const WHICH = "Which";
const STAYS = "What stays";

/** For every command. */
export const FIND_OPTIONS = {
  pattern: {
    type: "string",
    value: "GLOB",
    describe: "What counts as a checkpoint, file or folder; by name when absent",
    group: WHICH,
  },
  settle: {
    type: "string",
    value: "TIME",
    describe: "Untouched for so long, one without a mark of its end is complete; 30s when absent",
    group: WHICH,
  },
  "abandoned-after": {
    type: "string",
    value: "TIME",
    describe: "Untouched for so long, an incomplete one is not being written any more; 1h when absent",
    group: WHICH,
  },
  ...CONNECTION_OPTIONS,
} as const satisfies Record<string, Option>;

export const KEEP_OPTIONS = {
  "keep-last-n": { type: "string", value: "N", describe: "Keep the newest N of each run", group: STAYS },
  "keep-last": { type: "string", value: "N", describe: "The same", group: STAYS, hidden: true },
  "keep-every": {
    type: "string",
    value: "K",
    describe: "Keep each step that is a multiple of K",
    group: STAYS,
  },
  best: {
    type: "string",
    value: "METRIC",
    describe:
      "Keep the best of each run: val_loss, accuracy, score:min; from names, files of metrics, trainer_state.json",
    group: STAYS,
  },
} as const satisfies Record<string, Option>;

export const PICK_OPTIONS = {
  step: {
    type: "string",
    value: "N",
    describe: "The one of this step; the newest complete one when absent",
    group: WHICH,
  },
  best: {
    type: "string",
    value: "METRIC",
    describe: "The best by a metric: val_loss, accuracy, score:min",
    group: WHICH,
  },
} as const satisfies Record<string, Option>;

/** @throws HawserError `invalid_argument` */
export function findOptions(args: Arguments): Omit<FindOptions, "signal"> {
  const settleMs = durationOption(args, "settle");
  const abandonedMs = durationOption(args, "abandoned-after");
  return {
    pattern: args.text("pattern"),
    ...(settleMs === undefined ? {} : { settleMs }),
    ...(abandonedMs === undefined ? {} : { abandonedMs }),
  };
}

/** @throws HawserError `invalid_argument` when there is no rule */
export function keepOptions(name: string, args: Arguments): KeepOptions {
  const rules = {
    keepLast: wholeNumber(args, "keep-last-n") ?? wholeNumber(args, "keep-last"),
    keepEvery: wholeNumber(args, "keep-every"),
    best: args.text("best"),
  };
  if (rules.keepLast ?? rules.keepEvery ?? rules.best) return rules;
  throw usageError(`checkpoint ${name}`, "Say what stays: --keep-last-n, --keep-every or --best");
}

/** @throws HawserError `invalid_argument` */
export function pickOptions(args: Arguments): { step: number | undefined; best: string | undefined } {
  const step = wholeNumber(args, "step");
  const best = args.text("best");
  if (step !== undefined && best !== undefined)
    throw usageError("checkpoint", "--step and --best contradict each other; give one of them");
  return { step, best };
}

/** @throws HawserError `invalid_argument` unless there is just one place */
export function onePlace(name: string, args: Arguments): string {
  if (args.positionals.length !== 1)
    throw usageError(`checkpoint ${name}`, "Say where: a folder, or s3://bucket/prefix");
  return args.positionals[0]!;
}

/** @throws HawserError `invalid_argument` unless there are two */
export function fromAndTo(name: string, what: string, args: Arguments): [from: string, to: string] {
  const [from, to, ...more] = args.positionals;
  if (from === undefined || to === undefined || more.length > 0) throw usageError(`checkpoint ${name}`, what);
  return [from, to];
}
