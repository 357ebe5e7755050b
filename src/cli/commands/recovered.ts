/**
 * `hawser recovered`: files that never closed, lost to a change by somebody else, or were torn.
 *
 * They lie in the staging folder of their volume, mounted or not; nothing here asks a mount.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import { formatBytes, formatDuration } from "../../common/units.ts";
import { knownMounts } from "../../daemon/mounts.ts";
import { defaultStagingRoot, isStagingPlace, stagingFolder } from "../../daemon/writing.ts";
import { dropRecovered, listRecovered, restoreRecovered } from "../../writeback/recovered.ts";
import type { RecoveredFile } from "../../writeback/recovered.ts";
import type { Arguments, Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { usageError } from "../parse.ts";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

export const command: Command = {
  usage: ["ls", "restore NAME PATH", "drop NAME..."],
  description:
    "Shows files that could not go where they belong: never closed before a crash, written while somebody else changed " +
    "the object, or torn when their writer was killed. restore copies one to a path that does not exist, on a mount or " +
    "elsewhere, and forgets it; drop deletes it for good.",
  options: {
    "staging-dir": { type: "string", value: "FOLDER", describe: "Look in this staging folder too" },
    json: { type: "boolean", describe: "With ls: JSON" },
  },
  examples: [
    ["recovered ls", "What there is, and why"],
    ["recovered restore 20240101T120000Z-7-model.pt /data/model-mine.pt", "Bring one back"],
    ["recovered drop 20240101T120000Z-7-model.pt", "Delete one"],
  ],
  async run(args, terminal) {
    const [action, ...names] = args.positionals;
    switch (action) {
      case "ls":
        await list(args, terminal);
        return EXIT.ok;
      case "restore": {
        const [name, path] = names;
        if (name === undefined || path === undefined || names.length > 2)
          throw usageError("recovered", "restore takes a NAME and a PATH");
        await restoreRecovered(await folderOf(name, args), name, path);
        terminal.err(`hawser: ${name} is ${path} now`);
        return EXIT.ok;
      }
      case "drop":
        if (names.length === 0)
          throw usageError("recovered", "drop takes the NAMEs that 'recovered ls' shows");
        for (const name of names) await dropRecovered(await folderOf(name, args), name);
        return EXIT.ok;
      default:
        throw usageError("recovered", "Say what to do: ls, restore or drop");
    }
  },
};

interface Found extends RecoveredFile {
  folder: string;
}

async function list(args: Arguments, terminal: Terminal): Promise<void> {
  const files = await all(args);
  if (args.flag("json")) {
    terminal.out(JSON.stringify(files, null, 2));
    return;
  }
  if (files.length === 0) {
    terminal.out("Nothing was recovered.");
    return;
  }
  const rows = files.map(({ name, key, reason, sizeBytes, recoveredMs, missing }) => [
    name,
    key,
    reason.replaceAll("_", " "),
    formatBytes(sizeBytes) + (missing.length > 0 ? " (partly)" : ""),
    `${formatDuration(Date.now() - recoveredMs)} ago`,
  ]);
  for (const line of table(["NAME", "KEY", "WHY", "SIZE", "WHEN"], rows)) terminal.out(line);
}

async function folderOf(name: string, args: Arguments): Promise<string> {
  const found = (await all(args)).find((file) => file.name === name);
  if (found) return found.folder;
  throw new HawserError("not_found", `There is no recovered file ${name}; 'hawser recovered ls' lists them.`);
}

async function all(args: Arguments): Promise<Found[]> {
  const files: Found[] = [];
  for (const root of roots(args)) {
    for (const place of places(root)) {
      const folder = join(place, "recovered");
      for (const file of await listRecovered(folder)) files.push({ ...file, folder });
    }
  }
  return files;
}

/** Staging folders: the default one, those of the mounts, and one that was named. */
function roots(args: Arguments): Set<string> {
  const found = new Set([defaultStagingRoot()]);
  for (const { settings } of knownMounts()) if (settings) found.add(stagingFolder(settings.volume));
  const named = args.text("staging-dir");
  if (named !== undefined) found.add(named);
  return found;
}

function places(root: string): string[] {
  try {
    return readdirSync(root)
      .map((name) => join(root, name))
      .filter(isStagingPlace);
  } catch {
    return [];
  }
}
