/** `hawser mount`: volumes from flags or from hawser.yaml, in the background or in the foreground. */
import { resolve } from "node:path";
import { HawserError } from "../../common/errors.ts";
import { loadConfig } from "../../config/file.ts";
import type { NamedVolume } from "../../config/file.ts";
import { volumeUrl } from "../../config/volume.ts";
import { becomeDaemon, launch, prepare } from "../../daemon/launch.ts";
import type { MountRequest } from "../../daemon/mount-request.ts";
import { LOG_LEVELS } from "../../observe/logger.ts";
import type { LogLevel } from "../../observe/logger.ts";
import type { Arguments, Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { usageError } from "../parse.ts";
import { reportError } from "../report.ts";
import type { Terminal } from "../terminal.ts";
import { STORE_OPTIONS } from "../store-options.ts";
import { MOUNT_OPTIONS, volumeFromFlags, withFlags } from "../volume-options.ts";

export const command: Command = {
  usage: ["s3://BUCKET[/PREFIX] PATH", "--config hawser.yaml [VOLUME...]"],
  description:
    "Mounts a bucket or prefix as a folder, read-only, and returns when the folder answers. With --config, mounts " +
    "every volume of the file, or those named; options given beside it win over the file.",
  options: {
    config: { type: "string", alias: "c", value: "FILE", describe: "Take volumes from a hawser.yaml" },
    "read-only": { type: "boolean", describe: "Mount read-only (default)" },
    writable: { type: "boolean", describe: "Mount writable" },
    foreground: { type: "boolean", alias: "f", describe: "Stay in the foreground; ends when unmounted" },
    "log-level": { type: "string", choices: LOG_LEVELS, describe: "What goes into the log (info)" },
    "log-file": { type: "string", value: "FILE", describe: "Log there instead of in the state folder" },
    ...STORE_OPTIONS,
    ...MOUNT_OPTIONS,
  },
  examples: [
    ["mount s3://my-data/imagenet /data", "Mount a prefix read-only"],
    [
      "mount s3://my-data /data --cache-dir /scratch/cache --cache-size 500GiB",
      "Keep content on a local disk",
    ],
    ["mount s3://data /data --endpoint http://127.0.0.1:9000", "Mount from another store"],
    ["mount s3://public-data /data --no-sign-request", "Mount a public bucket"],
    ["mount --config hawser.yaml train", "Mount one volume of a file"],
  ],
  async run(args, terminal) {
    const requests = requestsFrom(args, terminal.environment);
    if (args.flag("foreground")) return await mountInForeground(requests, terminal);
    return await mountInBackground(requests, terminal);
  },
};

/** What is to be mounted. Looks at files, not at mount points. */
function requestsFrom(args: Arguments, environment: NodeJS.ProcessEnv): MountRequest[] {
  if (args.flag("read-only") && args.flag("writable")) {
    throw usageError("mount", "--read-only and --writable contradict each other");
  }
  const logFile = args.text("log-file");
  const common = {
    logLevel: (args.text("log-level") ?? "info") as LogLevel,
    logFile: logFile === undefined ? undefined : resolve(logFile),
  };
  const mode = args.flag("writable")
    ? { mode: "writable" }
    : args.flag("read-only")
      ? { mode: "read-only" }
      : {};
  const configPath = args.text("config");
  if (configPath !== undefined) {
    const config = loadConfig(configPath, environment);
    return chosen(config.volumes, args.positionals, configPath).map((volume) => ({
      ...common,
      volume: withFlags(volume, args, mode),
      configPath: config.path,
      environment: config.environment,
    }));
  }
  const [source, path, extra] = args.positionals;
  if (source === undefined)
    throw usageError("mount", "Say what to mount: s3://BUCKET[/PREFIX] PATH, or --config FILE");
  if (path === undefined)
    throw usageError("mount", `Say where to mount ${source}: an absolute path of an empty folder`);
  if (extra !== undefined) throw usageError("mount", `'${extra}' is one argument too many`);
  return [{ ...common, volume: volumeFromFlags(source, path, args, mode), environment }];
}

/** The volumes with these names or mount paths; all when none is named. */
function chosen(volumes: readonly NamedVolume[], names: readonly string[], path: string): NamedVolume[] {
  if (names.length === 0) return [...volumes];
  return names.map((name) => {
    const found = volumes.find((volume) => volume.name === name || volume.mount === name);
    if (found) return found;
    const known = volumes.map((volume) => volume.name).join(", ");
    throw new HawserError("invalid_argument", `${path} has no volume '${name}'; it has ${known}.`);
  });
}

async function mountInForeground(requests: MountRequest[], terminal: Terminal): Promise<number> {
  const [request, another] = requests;
  if (!request || another) {
    throw usageError(
      "mount",
      "--foreground serves one volume; name the one, or mount them in the background",
    );
  }
  const prepared = await prepare(request);
  for (const note of prepared.notes) terminal.err(`hawser: ${note}`);
  return await becomeDaemon(prepared, request);
}

async function mountInBackground(requests: MountRequest[], terminal: Terminal): Promise<number> {
  let worst: number = EXIT.ok;
  // One after the other: each asks the store once, and messages stay in order.
  for (const request of requests) {
    const url = volumeUrl(request.volume);
    try {
      const mount = await launch(request);
      await mount.detach();
      for (const note of mount.notes) terminal.err(`hawser: ${note}`);
      terminal.err(`hawser: ${url} is mounted at ${mount.status.mountPoint}`);
    } catch (error) {
      if (requests.length === 1) throw error;
      terminal.err(`hawser: ${url} was not mounted at ${request.volume.mount}:`);
      worst = Math.max(worst, reportError(error, terminal));
    }
  }
  return worst;
}
