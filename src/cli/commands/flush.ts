/** `hawser flush`: the barrier between what was written and what is in the bucket. */
import { callDaemon } from "../../daemon/control-client.ts";
import { knownMounts } from "../../daemon/mounts.ts";
import type { PendingProgress } from "../../daemon/write-control.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { findMountPath, socketOf } from "../mount-paths.ts";
import { withUploads } from "../uploads.ts";

export const command: Command = {
  usage: ["[PATH...]"],
  description:
    "Waits until what was written so far is in the bucket: below the paths named, or in all writable volumes of this " +
    "user. Uploads that had been given up are tried again. The exit code says whether all of it arrived.",
  options: {},
  examples: [
    ["flush", "Wait for everything"],
    ["flush /data/checkpoints", "Wait for one folder"],
  ],
  async run(args, terminal) {
    const mounts = knownMounts();
    const targets =
      args.positionals.length > 0
        ? args.positionals.map((path) => findMountPath(path, process.cwd(), mounts))
        : mounts
            .filter(({ settings, pid }) => settings?.volume.mode === "writable" && pid !== undefined)
            .map((mount) => ({ mount, path: "" }));
    for (const { mount, path } of targets) {
      await withUploads((onProgress) =>
        callDaemon(
          socketOf(mount),
          "flush",
          { path },
          { onEvent: (event) => onProgress(event as PendingProgress) },
        ),
      );
      terminal.err(`hawser: ${mount.mountPoint}${path === "" ? "" : `/${path}`} is in the bucket`);
    }
    return EXIT.ok;
  },
};
