/** `hawser s3 lifecycle`: a bucket's lifecycle rules as YAML. */
import { readFile } from "node:fs/promises";
import { HawserError } from "../../../common/errors.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, YES_OPTION, bucketAddress, counted } from "../../s3/arguments.ts";
import { confirm } from "../../s3/confirm.ts";

export const command: Command = {
  usage: ["show s3://BUCKET", "set s3://BUCKET FILE", "clear s3://BUCKET"],
  description:
    "Shows a bucket's lifecycle rules as YAML, sets them from such a file (or - for standard input), or removes them. " +
    "A rule has a name and may have prefix, tags, largerThan, smallerThan, transitions (to, after), expire (days or a " +
    "date), oldVersions (expire, keep, transitions), removeExpiredMarkers, abortMultiparts and enabled. What 'show' " +
    "prints, 'set' takes. 'set' replaces all rules.",
  maxPositionals: 3,
  options: {
    ...BUCKET_OPTIONS,
    "dry-run": { type: "boolean", alias: "n", describe: "Check the file, and set nothing" },
    yes: YES_OPTION,
  },
  examples: [
    ["s3 lifecycle show s3://bucket > lifecycle.yaml", "The rules, to be edited"],
    ["s3 lifecycle set s3://bucket lifecycle.yaml", "Set them"],
    ["s3 lifecycle set s3://bucket lifecycle.yaml --dry-run", "Check the file alone"],
  ],
  async run(args, terminal) {
    const [action, place, file] = args.positionals;
    if (action !== "show" && action !== "set" && action !== "clear")
      throw usageError("s3 lifecycle", "Say what to do: show, set or clear");
    const { bucket } = bucketAddress("lifecycle", place);
    if ((file !== undefined) !== (action === "set"))
      throw usageError(
        "s3 lifecycle",
        action === "set" ? "Say which file" : `'${file}' is one argument too many`,
      );
    const [{ getLifecycle, lifecycleOf, readableLifecycle, setLifecycle }, yaml] = await Promise.all([
      import("../../../transfer/bucket/lifecycle.ts"),
      import("yaml"),
    ]);
    await using connection = openConnection(args);
    const store = await connection.store(bucket);
    const json = args.flag("json");
    if (action === "show") {
      const shown = readableLifecycle(await getLifecycle(store));
      if (json) terminal.out(JSON.stringify(shown));
      else if (shown.rules.length === 0) terminal.out(`# s3://${bucket} has no lifecycle rules.\nrules: []`);
      else terminal.out(yaml.stringify(shown).trimEnd());
      return;
    }
    if (action === "clear") {
      if (!args.flag("yes")) await confirm(terminal, `Remove the lifecycle rules of s3://${bucket}?`);
      await setLifecycle(store, []);
      terminal.out(
        json ? JSON.stringify({ type: "lifecycle", rules: 0 }) : `Removed the rules of s3://${bucket}.`,
      );
      return;
    }
    const rules = lifecycleOf(parsed(await textOf(file!), file!, yaml.parse));
    const dryRun = args.flag("dry-run");
    if (!dryRun) await setLifecycle(store, rules);
    if (json) terminal.out(JSON.stringify({ type: "lifecycle", rules: rules.length, dryRun }));
    else terminal.out(`${dryRun ? "Would set" : "Set"} ${counted(rules.length, "rule")} of s3://${bucket}.`);
  },
};

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file === "-" ? "/dev/stdin" : file, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HawserError("config_not_found", `${file} cannot be read: ${why}.`, { cause: error });
  }
}

function parsed(text: string, file: string, parse: (text: string) => unknown): unknown {
  try {
    return parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HawserError("config_invalid", `${file} is no YAML: ${why}`, { cause: error });
  }
}
