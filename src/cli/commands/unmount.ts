/** `hawser unmount`: by path or name, all of a file, or everything. */
import { HawserError } from "../../common/errors.ts";
import { loadConfig } from "../../config/file.ts";
import { endMount } from "../../daemon/end-mount.ts";
import { findMount, knownMounts } from "../../daemon/mounts.ts";
import type { KnownMount } from "../../daemon/mounts.ts";
import type { Arguments, Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { usageError } from "../parse.ts";
import { reportError } from "../report.ts";
import { withUploads } from "../uploads.ts";

export const command: Command = {
  usage: ["PATH...", "--config hawser.yaml [VOLUME...]", "--all"],
  description:
    "Unmounts and waits until the mount's process has ended. A mount whose files are open is refused, with who has " +
    "them open; a mount whose process was killed is cleared. A writable volume is first brought to the bucket, whole.",
  options: {
    config: {
      type: "string",
      alias: "c",
      value: "FILE",
      describe: "The volumes of a hawser.yaml, or those named",
    },
    all: { type: "boolean", alias: "a", describe: "Every mount of this user" },
    lazy: { type: "boolean", alias: "l", describe: "Free the path at once; open files go on until closed" },
    force: { type: "boolean", describe: "End open files with errors; uploads wait for the next mount" },
  },
  examples: [
    ["unmount /data", "Unmount one volume"],
    ["unmount --all", "Unmount every volume"],
    ["unmount /data --lazy", "Free the path although files are open"],
  ],
  async run(args, terminal) {
    let worst: number = EXIT.ok;
    for (const mount of chosen(args)) {
      try {
        const notes = await withUploads((onProgress) =>
          endMount(mount, { lazy: args.flag("lazy"), force: args.flag("force"), onProgress }),
        );
        for (const note of notes) terminal.err(`hawser: ${note}`);
        terminal.err(`hawser: ${mount.mountPoint} is unmounted`);
      } catch (error) {
        worst = Math.max(worst, reportError(error, terminal));
      }
    }
    return worst;
  },
};

function chosen(args: Arguments): KnownMount[] {
  const mounts = knownMounts();
  if (args.flag("all")) return mounts.filter(({ folder }) => folder !== undefined);
  const configPath = args.text("config");
  if (configPath !== undefined) {
    const { volumes } = loadConfig(configPath, process.env);
    const wanted = args.positionals.length === 0 ? volumes.map(({ mount }) => mount) : args.positionals;
    const found = wanted.map((name) => {
      const path = volumes.find((volume) => volume.name === name || volume.mount === name)?.mount;
      return { name, mount: path === undefined ? undefined : findMount(path, mounts) };
    });
    const missing = found.filter(({ mount }) => !mount);
    // All of a file means what is mounted of it; a volume that was named must be there.
    if (args.positionals.length > 0 && missing.length > 0) throw notMounted(missing[0]!.name, mounts);
    return found.flatMap(({ mount }) => mount ?? []);
  }
  if (args.positionals.length === 0)
    throw usageError("unmount", "Say what to unmount: a PATH, --config FILE or --all");
  return args.positionals.map((path) => {
    const mount = findMount(path, mounts);
    if (!mount) throw notMounted(path, mounts);
    return mount;
  });
}

function notMounted(what: string, mounts: readonly KnownMount[]): HawserError {
  const known = mounts.map(({ mountPoint }) => mountPoint);
  const there = known.length === 0 ? "nothing is mounted by Hawser" : `mounted are ${known.join(", ")}`;
  return new HawserError("not_mounted", `No volume is mounted at ${what}; ${there}.`);
}
