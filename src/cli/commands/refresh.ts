/** `hawser refresh`: what others have changed in the bucket is seen from now on. */
import { callDaemon } from "../../daemon/control-client.ts";
import { knownMounts } from "../../daemon/mounts.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { findMountPath, socketOf } from "../mount-paths.ts";
import { usageError } from "../parse.ts";

export const command: Command = {
  usage: ["PATH..."],
  description:
    "Forgets what a mount knows of the names below a path, so that what others have changed in the bucket is seen at " +
    "once and not when the metadata's lifetime is over. Open files stay on the version that they have.",
  options: {},
  examples: [
    ["refresh /data", "See what is new in the whole volume"],
    ["refresh /data/checkpoints", "See what another worker has just written"],
  ],
  async run(args) {
    if (args.positionals.length === 0)
      throw usageError("refresh", "Say what to look at anew: a PATH in a mount");
    const mounts = knownMounts();
    for (const text of args.positionals) {
      const { mount, path } = findMountPath(text, process.cwd(), mounts);
      await callDaemon(socketOf(mount), "refresh", { path });
    }
    return EXIT.ok;
  },
};
