/** `hawser s3 cleanup`: removes old checkpoints and unfinished uploads. */
import { formatBytes, formatDuration } from "../../../common/units.ts";
import { formatS3 } from "../../../transfer/address.ts";
import {
  carryOut,
  findCheckpoints,
  findStaleMultiparts,
  nothingFound,
} from "../../../transfer/cleanup/cleanup.ts";
import { planCleanup } from "../../../transfer/cleanup/plan.ts";
import type { CleanupRules, Judged } from "../../../transfer/cleanup/plan.ts";
import type { Arguments, Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import {
  BUCKET_OPTIONS,
  YES_OPTION,
  countOption,
  counted,
  durationOption,
  oneAddress,
  sizeOption,
} from "../../s3/arguments.ts";
import { confirm } from "../../s3/confirm.ts";
import type { Terminal } from "../../terminal.ts";
import { reportTransfer } from "../../transfer-report.ts";

const RULES = "What goes";

export const command: Command = {
  usage: ["s3://BUCKET[/PREFIX] --keep-last-n N"],
  description:
    "Removes old checkpoints. Only what has a checkpoint's name (step_100.pt, epoch=1-step=100.ckpt, checkpoint-100/, " +
    "global_step100/), or matches --pattern, counts; what is called best or last never does. Checkpoints of one folder " +
    "are a run, and the newest of each run stays. It says what goes and what stays; on a terminal it asks first.",
  options: {
    ...BUCKET_OPTIONS,
    "keep-last-n": { type: "string", value: "N", describe: "Keep the newest N of each run", group: RULES },
    "older-than": { type: "string", value: "TIME", describe: "Only what is older, e.g. 30d", group: RULES },
    "max-total-size": {
      type: "string",
      value: "SIZE",
      describe: "Then the oldest, until all together are within this",
      group: RULES,
    },
    "min-keep": {
      type: "string",
      value: "N",
      describe: "Newest of each run that stay whatever else is said; 1 when absent",
      group: RULES,
    },
    pattern: { type: "string", value: "GLOB", describe: "What counts, files or folders", group: RULES },
    multipart: { type: "boolean", describe: "Also end unfinished uploads older than a day", group: RULES },
    "dry-run": { type: "boolean", alias: "n", describe: "Say what would be removed, and remove nothing" },
    yes: YES_OPTION,
  },
  examples: [
    ["s3 cleanup s3://bucket/runs --keep-last-n 3 --dry-run", "See what would go"],
    [
      "s3 cleanup s3://bucket/runs --keep-last-n 3 --older-than 7d",
      "Older than a week, but never the newest 3",
    ],
    ["s3 cleanup s3://bucket/runs --max-total-size 2TiB --min-keep 2", "Within a budget"],
    ["s3 cleanup s3://bucket/runs --pattern 'snap-*' --keep-last-n 5", "Names of your own"],
    ["s3 cleanup s3://bucket --multipart", "Unfinished uploads alone"],
  ],
  async run(args, terminal) {
    const address = oneAddress("cleanup", args);
    const rules = rulesOf(args);
    const pattern = args.text("pattern");
    const json = args.flag("json");
    const judging = rules.keepLastN ?? rules.olderThanMs ?? rules.maxTotalBytes;
    if (judging === undefined && !args.flag("multipart")) {
      throw usageError(
        "s3 cleanup",
        "Say what goes: --keep-last-n, --older-than, --max-total-size or --multipart",
      );
    }
    await using connection = openConnection(args);
    return await interruptible(async (signal) => {
      const store = await connection.store(address.bucket);
      const now = Date.now();
      const found =
        judging === undefined ? [] : await findCheckpoints(store, address.key, { pattern, signal });
      const multiparts = args.flag("multipart")
        ? await findStaleMultiparts(store, address.key, now, signal)
        : [];
      if (judging !== undefined && found.length + multiparts.length === 0)
        throw nothingFound(formatS3(address.bucket, address.key), pattern);
      const judged = planCleanup(found, rules, now);
      showPlan(judged, now, json, terminal);
      for (const { key, initiatedMs } of multiparts) {
        const uri = formatS3(address.bucket, key);
        const initiated = new Date(initiatedMs).toISOString();
        if (json) terminal.out(JSON.stringify({ type: "multipart", uri, initiated }));
        else terminal.out(`  remove  unfinished upload of ${uri}, ${age(now, initiatedMs)} old`);
      }
      const going = judged.filter(({ verdict }) => verdict !== "keep").map(({ checkpoint }) => checkpoint);
      const bytes = going.reduce((sum, checkpoint) => sum + checkpoint.bytes, 0);
      const uploads = args.flag("multipart") ? ` and ${counted(multiparts.length, "unfinished upload")}` : "";
      const what = `${counted(going.length, "checkpoint")} (${formatBytes(bytes)})${uploads}`;
      const dryRun = args.flag("dry-run");
      if (!json)
        terminal.out(
          `${dryRun ? "Would remove" : "To remove"}: ${what}; ${found.length - going.length} stay.`,
        );
      if (dryRun || going.length + multiparts.length === 0) return;
      if (terminal.interactive && !args.flag("yes")) await confirm(terminal, `Remove ${what}?`);
      const report = reportTransfer(terminal, {
        label: "Removing",
        unit: "files",
        json,
        verbose: terminal.verbose,
      });
      const onEvent = report.onEvent.bind(report);
      // Oldest first, so that what an interruption leaves is the newest.
      const checkpoints = going.reverse();
      return report.finish(await carryOut(store, { checkpoints, multiparts }, { signal, onEvent }));
    });
  },
};

function rulesOf(args: Arguments): CleanupRules {
  return {
    keepLastN: countOption(args, "keep-last-n"),
    olderThanMs: durationOption(args, "older-than"),
    maxTotalBytes: sizeOption(args, "max-total-size"),
    minKeep: countOption(args, "min-keep"),
  };
}

const REASONS: Record<Exclude<Judged["verdict"], "keep">, string> = {
  "beyond-last-n": "behind the newest",
  "too-old": "too old",
  "over-size": "over the size",
};

function showPlan(judged: readonly Judged[], now: number, json: boolean, terminal: Terminal): void {
  let run: string | undefined;
  for (const { checkpoint, verdict } of judged) {
    const { name, step, bytes, mtimeMs, objects } = checkpoint;
    if (json) {
      const modified = new Date(mtimeMs).toISOString();
      const shown = { run: checkpoint.run, name, step, objects: objects.length, bytes, modified };
      terminal.out(JSON.stringify({ type: "checkpoint", verdict, ...shown }));
      continue;
    }
    if (checkpoint.run !== run) terminal.out(terminal.paint("bold", `${checkpoint.run || "."}/`));
    run = checkpoint.run;
    const reason = verdict === "keep" ? "" : `, ${REASONS[verdict]}`;
    const word = verdict === "keep" ? terminal.paint("green", "keep  ") : terminal.paint("red", "remove");
    const local = run === "" ? name : name.slice(run.length + 1);
    terminal.out(`  ${word}  ${local}  (${formatBytes(bytes)}, ${age(now, mtimeMs)} old${reason})`);
  }
}

function age(now: number, then: number): string {
  return formatDuration(Math.max(1000, now - then)).split(" ")[0]!;
}
