/** `hawser checkpoint cleanup`: removes what no rule keeps. */
import { formatBytes } from "../../../common/units.ts";
import { Checkpoints } from "../../../transfer/checkpoint/checkpoints.ts";
import type { Kept } from "../../../transfer/checkpoint/keep.ts";
import {
  FIND_OPTIONS,
  KEEP_OPTIONS,
  findOptions,
  keepOptions,
  onePlace,
} from "../../checkpoint/arguments.ts";
import { showKept } from "../../checkpoint/show.ts";
import { installTimer } from "../../checkpoint/timer.ts";
import type { Command } from "../../command.ts";
import { ask } from "../../confirm.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { YES_OPTION, counted } from "../../s3/arguments.ts";
import { reportTransfer } from "../../transfer-report.ts";

const SCHEDULE = "Schedule";

export const command: Command = {
  usage: ["FOLDER --keep-last-n N", "s3://BUCKET[/PREFIX] --keep-last-n N"],
  description:
    "Removes the checkpoints that no rule keeps, each as a whole. The newest complete one of each run always stays, and " +
    "so does one that may still be being written; what is called best or last, or has no number, is no checkpoint and " +
    "never touched. It says what goes and what stays, and why; on a terminal it asks first.",
  options: {
    ...KEEP_OPTIONS,
    "dry-run": { type: "boolean", alias: "n", describe: "Say what would be removed, and remove nothing" },
    yes: YES_OPTION,
    "install-timer": {
      type: "boolean",
      describe: "Do this on a schedule: by systemd, or by cron where there is none",
      group: SCHEDULE,
    },
    every: {
      type: "string",
      value: "TIME",
      describe: "With --install-timer; 1h when absent",
      group: SCHEDULE,
    },
    scheduler: {
      type: "string",
      choices: ["systemd", "cron"],
      describe: "What keeps the schedule; systemd where it runs when absent",
      group: SCHEDULE,
    },
    "uninstall-timer": { type: "boolean", describe: "End the schedule of this place", group: SCHEDULE },
    ...FIND_OPTIONS,
  },
  examples: [
    ["checkpoint cleanup s3://bucket/runs --keep-last-n 3 --dry-run", "See what would go"],
    ["checkpoint cleanup ./out --keep-last-n 2 --keep-every 10000", "The newest two, and each 10,000th step"],
    ["checkpoint cleanup ./out --keep-last-n 1 --best eval_loss", "The newest and the best"],
    ["checkpoint cleanup s3://bucket/runs --keep-last-n 3 --install-timer --every 6h", "Four times a day"],
  ],
  async run(args, terminal) {
    const text = onePlace("cleanup", args);
    if (args.flag("uninstall-timer")) return await installTimer(text, args, terminal, "remove");
    const rules = keepOptions("cleanup", args);
    if (args.flag("install-timer")) return await installTimer(text, args, terminal, "install");
    const json = args.flag("json");
    const dryRun = args.flag("dry-run");
    await using connection = openConnection(args);
    await using checkpoints = new Checkpoints(connection);
    const { place } = await checkpoints.place(text);
    const report = reportTransfer(terminal, {
      label: "Removing",
      unit: "files",
      json,
      verbose: terminal.verbose,
      quiet: dryRun,
    });
    const confirm = async (plan: readonly Kept[]): Promise<boolean> => {
      showKept(plan, place, json, terminal);
      const going = plan.filter(({ goes }) => goes);
      const bytes = going.reduce((sum, { step }) => sum + step.bytes, 0);
      const what = `${counted(going.length, "checkpoint")} (${formatBytes(bytes)})`;
      if (!json)
        terminal.out(
          `${dryRun ? "Would remove" : "To remove"}: ${what}; ${plan.length - going.length} stay.`,
        );
      if (dryRun || going.length === 0) return false;
      return !terminal.interactive || args.flag("yes") || (await ask(`Remove ${what}?`));
    };
    const { summary } = await interruptible((signal) =>
      checkpoints.cleanup(text, {
        ...findOptions(args),
        ...rules,
        confirm,
        signal,
        onEvent: report.onEvent.bind(report),
      }),
    );
    return report.finish(summary);
  },
};
