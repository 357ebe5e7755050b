/** `hawser warm`: fetches into a mount's cache what will be read, or takes it out again. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { HawserError } from "../../common/errors.ts";
import { formatBytes } from "../../common/units.ts";
import { callDaemon } from "../../daemon/control-client.ts";
import { findMount, knownMounts } from "../../daemon/mounts.ts";
import type { KnownMount } from "../../daemon/mounts.ts";
import type { WarmStatus } from "../../daemon/warm-jobs.ts";
import { createProgress } from "../../observe/progress.ts";
import type { Arguments, Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { findMountPath, socketOf } from "../mount-paths.ts";
import { usageError } from "../parse.ts";
import type { Terminal } from "../terminal.ts";
import { describeWarm } from "../warm-text.ts";

/** Paths in one message: well below the protocol's longest line, whatever their length. */
const PATHS_AT_ONCE = 200;

export const command: Command = {
  usage: ["PATH...", "--files-from FILE [FOLDER]", "--cancel [PATH...]"],
  description:
    "Fetches files into the cache of the mount they are in, behind all readers: whole folders, globs (quoted, so that " +
    "the mount and not the shell looks them up), or a list of files in the order given, such as the order in which an " +
    "epoch will read them. It goes on in the background; 'hawser status' says how far it is.",
  options: {
    "files-from": {
      type: "string",
      value: "FILE",
      describe: "Read paths from a file, one a line; - is standard input. Relative to FOLDER, or this folder",
    },
    wait: { type: "boolean", describe: "Wait until everything is there, and show progress. Ctrl-C cancels" },
    evict: { type: "boolean", describe: "Take the files out of the cache instead" },
    cancel: { type: "boolean", describe: "End what is being fetched, in all mounts or those named" },
    json: { type: "boolean", describe: "Print JSON: what was begun, or with --wait a line for each step" },
  },
  examples: [
    ["warm /data/train --wait", "Fetch a folder and see how it goes"],
    ["warm '/data/train/**/*.tar'", "Fetch what a glob matches, in the background"],
    ["warm --files-from order.txt /data", "Fetch files in the order of a list"],
    ["warm --evict /data/old", "Make room"],
  ],
  async run(args, terminal) {
    if (args.flag("cancel")) return await cancel(args, terminal);
    const list = args.text("files-from");
    if (args.flag("evict")) {
      if (list !== undefined) throw usageError("warm", "--evict takes paths, not --files-from");
      return await evict(args, terminal);
    }
    const started = list === undefined ? await startPaths(args) : await startList(list, args);
    const codes = await Promise.all(started.map((job) => finish(job, args, terminal)));
    return Math.max(...codes);
  },
};

interface StartedJob {
  mount: KnownMount;
  socket: string;
  status: WarmStatus;
}

async function startPaths(args: Arguments): Promise<StartedJob[]> {
  const jobs: StartedJob[] = [];
  for (const [mount, paths] of byMount(args)) {
    const socket = socketOf(mount);
    jobs.push({ mount, socket, status: await callDaemon(socket, "warm", { paths }) });
  }
  return jobs;
}

async function startList(file: string, args: Arguments): Promise<StartedJob[]> {
  if (args.positionals.length > 1)
    throw usageError("warm", "--files-from takes one FOLDER that its paths are relative to");
  const mounts = knownMounts();
  const folder = args.positionals[0] ?? process.cwd();
  let job: StartedJob | undefined;
  let paths: string[] = [];
  const send = async (last: boolean): Promise<void> => {
    if (!job) return;
    const params = { paths, last, ...(job.status.id === 0 ? {} : { id: job.status.id }) };
    paths = [];
    job.status = await callDaemon(job.socket, "warmList", params);
  };
  for await (const line of linesOf(file)) {
    if (line === "") continue;
    const { mount, path } = findMountPath(line, folder, mounts);
    job ??= { mount, socket: socketOf(mount), status: { id: 0 } as WarmStatus };
    if (mount !== job.mount)
      throw new HawserError(
        "invalid_argument",
        `The list names files of ${job.mount.mountPoint} and of ${mount.mountPoint}; give each mount its own.`,
      );
    paths.push(path);
    if (paths.length >= PATHS_AT_ONCE) await send(false);
  }
  await send(true);
  if (!job)
    throw new HawserError(
      "invalid_argument",
      `There are no paths in ${file === "-" ? "standard input" : file}.`,
    );
  return [job];
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const input = file === "-" ? process.stdin : createReadStream(file);
  const opened = new Promise<void>((resolve, reject) => {
    input.once("error", (error: Error) =>
      reject(
        new HawserError("invalid_argument", `${file} cannot be read: ${error.message}`, { cause: error }),
      ),
    );
    if (file === "-") resolve();
    else input.once("open", () => resolve());
  });
  await opened;
  yield* createInterface({ input, crlfDelay: Infinity });
}

/** The paths that were named, by their mounts. */
function byMount(args: Arguments): Map<KnownMount, string[]> {
  if (args.positionals.length === 0)
    throw usageError("warm", "Say what to fetch: a PATH in a mount, or --files-from FILE");
  const mounts = knownMounts();
  const found = new Map<KnownMount, string[]>();
  for (const text of args.positionals) {
    const { mount, path } = findMountPath(text, process.cwd(), mounts);
    found.set(mount, [...(found.get(mount) ?? []), path]);
  }
  return found;
}

async function finish(job: StartedJob, args: Arguments, terminal: Terminal): Promise<number> {
  const { mount, socket } = job;
  const json = args.flag("json");
  if (!args.flag("wait")) {
    if (json) terminal.out(JSON.stringify({ mountPoint: mount.mountPoint, ...job.status }));
    else terminal.err(`hawser: fetching ${job.status.what} of ${mount.mountPoint}; see 'hawser status'`);
    return EXIT.ok;
  }
  const { id } = job.status;
  const say = (status: WarmStatus): void =>
    terminal.out(JSON.stringify({ mountPoint: mount.mountPoint, ...status }));
  using progress = json
    ? undefined
    : createProgress({ label: mount.mountPoint, unit: "bytes", stream: process.stderr });
  let cancelled = false;
  const onSignal = (): void => {
    cancelled = true;
    void callDaemon(socket, "warmCancel", { id }).catch(() => undefined);
  };
  process.once("SIGINT", onSignal);
  const status = await callDaemon(
    socket,
    "warmWait",
    { id },
    {
      onEvent: (event) => {
        const step = event as WarmStatus;
        if (json) say(step);
        else progress?.update(step.bytes, step.totalBytes ?? 0);
      },
    },
  ).finally(() => process.off("SIGINT", onSignal));
  progress?.update(status.bytes, status.totalBytes ?? status.bytes);
  progress?.stop();
  if (json) say(status);
  else terminal.err(`hawser: ${describeWarm(status)}`);
  if (cancelled || status.state === "cancelled") return EXIT.interrupted;
  return status.state === "done" && status.failed === 0 && status.missing === 0 ? EXIT.ok : EXIT.failure;
}

async function cancel(args: Arguments, terminal: Terminal): Promise<void> {
  const mounts = knownMounts();
  const chosen =
    args.positionals.length === 0
      ? mounts.filter(({ pid }) => pid !== undefined)
      : args.positionals.map(
          (text) => findMount(text, mounts) ?? findMountPath(text, process.cwd(), mounts).mount,
        );
  let cancelled = 0;
  for (const mount of chosen) cancelled += (await callDaemon(socketOf(mount), "warmCancel", {})).cancelled;
  if (args.flag("json")) terminal.out(JSON.stringify({ cancelled }));
  else terminal.err(cancelled === 0 ? "hawser: nothing was being fetched" : `hawser: ended ${cancelled}`);
}

async function evict(args: Arguments, terminal: Terminal): Promise<void> {
  for (const [mount, paths] of byMount(args)) {
    const { freedBytes } = await callDaemon(socketOf(mount), "evict", { paths });
    if (args.flag("json")) terminal.out(JSON.stringify({ mountPoint: mount.mountPoint, freedBytes }));
    else terminal.err(`hawser: freed ${formatBytes(freedBytes)} of the cache of ${mount.mountPoint}`);
  }
}
