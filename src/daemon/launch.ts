/**
 * Launching: from a request to a mount that answers.
 *
 * A volume always runs in a process of its own. In the background that process is spawned, watched until it says that
 * it serves, and then proven: the launcher itself reads the mounted folder before it reports success. In the
 * foreground this process becomes it (execve), so that one process is left.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { opendir } from "node:fs/promises";
import { packagePath } from "../common/package-root.ts";
import { HawserError, toHawserError } from "../common/errors.ts";
import { tryNative } from "../common/native.ts";
import type { Milliseconds } from "../common/units.ts";
import { fromErrorMessage, toErrorMessage } from "./control-protocol.ts";
import type { MountStatus } from "./control-protocol.ts";
import { within } from "./deadline.ts";
import { daemonEnvironment, settingsFor } from "./mount-request.ts";
import type { MountRequest } from "./mount-request.ts";
import { prepareMountPoint } from "./mount-point.ts";
import { StateFolder, stateRoot } from "./state-folder.ts";
import type { HandedCredentials, ToDaemon, ToParent } from "./supervisor.ts";

/** The program that a mount's process runs, and the hidden command that serves. */
const PROGRAM = packagePath("bin/hawser.js");
export const SERVE_COMMAND = "serve-mount";

/** Longer than the mount's own bounds, so that its explanation arrives before this one. */
const READY_MS: Milliseconds = 60_000;
/** How long the first read of a served mount may take. */
const FIRST_READ_MS: Milliseconds = 30_000;
/** How long a process that was told to end may take. */
const END_MS: Milliseconds = 15_000;

export interface Prepared {
  folder: StateFolder;
  mountPoint: string;
  /** What was done on the way, for the user. */
  notes: string[];
}

/**
 * Checks the mount point, clears a dead mount of ours and writes the settings. The folder belongs to this process then.
 *
 * @throws HawserError `mount_point_*`, `not_supported`, `permission_denied`
 */
export async function prepare(request: MountRequest): Promise<Prepared> {
  const { volume } = request;
  const root = stateRoot();
  StateFolder.prune(root);
  const { mountPoint, notes } = await prepareMountPoint(volume.mount, {
    nonempty: volume.nonempty ?? false,
    stateRoot: root,
  });
  const folder = StateFolder.for(root, mountPoint);
  folder.claim(settingsFor(request, mountPoint));
  return { folder, mountPoint, notes };
}

/**
 * Serves in the foreground. This process is replaced by the mount's and nothing after the call runs; only where there
 * is no addon to do that, a child with this process's terminal serves, and its exit code is the answer.
 */
export async function becomeDaemon({ folder }: Prepared, request: MountRequest): Promise<number> {
  const environment = daemonEnvironment(request.environment);
  const addon = tryNative();
  if (addon) {
    process.chdir("/");
    const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    addon.execve(process.execPath, daemonArguments(folder), pairs);
  }
  const child = spawn(process.execPath, daemonArguments(folder).slice(1), {
    cwd: "/",
    env: environment,
    stdio: "inherit",
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on("SIGTERM", forward).on("SIGINT", forward).on("SIGHUP", forward);
  return await new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)));
}

function daemonArguments(folder: StateFolder): string[] {
  return [process.execPath, PROGRAM, SERVE_COMMAND, folder.path];
}

/** A mount that this process started and that answers. */
export class LaunchedMount {
  readonly status: MountStatus;
  readonly folder: StateFolder;
  readonly notes: string[];
  /** Settles when the mount's process has ended. */
  readonly ended: Promise<void>;
  private readonly child: ChildProcess;

  constructor(
    child: ChildProcess,
    folder: StateFolder,
    status: MountStatus,
    notes: string[],
    ended: Promise<void>,
  ) {
    this.child = child;
    this.folder = folder;
    this.status = status;
    this.notes = notes;
    this.ended = ended;
  }

  /** Lets the mount live on without this process. */
  async detach(): Promise<void> {
    if (!this.child.connected) return;
    await new Promise<void>((resolve) => {
      this.child.once("disconnect", resolve);
      send(this.child, { type: "detach" });
    });
    this.child.unref();
  }

  /** Keeps this process from waiting for the mount; it still ends the mount when it ends. */
  unref(): void {
    this.child.unref();
    this.child.channel?.unref();
  }
}

/**
 * Mounts in a process of its own and proves that it answers.
 *
 * @throws HawserError what the mount's process failed with; `daemon_failed` when it died or did not answer in time
 */
export async function launch(request: MountRequest): Promise<LaunchedMount> {
  const prepared = await prepare(request);
  const { folder, mountPoint, notes } = prepared;
  const child = spawnDaemon(folder, request);
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  try {
    const status = await readiness(child, folder, request, notes);
    await proveRead(mountPoint);
    return new LaunchedMount(child, folder, status, notes, ended);
  } catch (error) {
    child.kill("SIGTERM");
    if (
      (await within(
        ended.then(() => true),
        END_MS,
      )) === undefined
    )
      child.kill("SIGKILL");
    if (!folder.liveOwner()) folder.release();
    throw error;
  }
}

function spawnDaemon(folder: StateFolder, request: MountRequest): ChildProcess {
  // What the program itself cannot log (a crash of Node or of the addon) goes beside the log.
  const log = openSync(folder.logPath, "a", 0o600);
  try {
    return spawn(process.execPath, daemonArguments(folder).slice(1), {
      cwd: "/",
      detached: true,
      env: daemonEnvironment(request.environment),
      stdio: ["ignore", log, log, "ipc"],
    });
  } finally {
    closeSync(log);
  }
}

function send(child: ChildProcess, message: ToDaemon): void {
  if (child.connected) child.send(message, () => {});
}

/** Listens to the mount's process until it serves; answers its questions for as long as it lives. */
function readiness(
  child: ChildProcess,
  folder: StateFolder,
  request: MountRequest,
  notes: string[],
): Promise<MountStatus> {
  return new Promise((resolve, reject) => {
    const fail = (message: string, cause?: unknown): void => {
      clearTimeout(timer);
      reject(new HawserError("daemon_failed", message, { cause }));
    };
    const timer = setTimeout(() => {
      fail(`The mount was not ready within ${READY_MS / 1000} s; see ${folder.logPath}.`);
    }, READY_MS);
    child.on("message", (message: ToParent) => {
      if (message.type === "note") notes.push(message.text);
      else if (message.type === "credentials") void answerCredentials(child, message.id, request.handOver);
      else {
        clearTimeout(timer);
        if (message.type === "ready") resolve(message.status);
        else reject(fromErrorMessage(message.error));
      }
    });
    child.once("error", (error) =>
      fail(`The mount's process could not be started (${error.message}).`, error),
    );
    child.once("close", (code, signal) => {
      const how = signal ? `was ended by ${signal}` : `ended with code ${code}`;
      fail(`The mount's process ${how} before it was ready; see ${folder.logPath}.`);
    });
  });
}

async function answerCredentials(
  child: ChildProcess,
  id: number,
  handOver: (() => Promise<HandedCredentials>) | undefined,
): Promise<void> {
  try {
    if (!handOver)
      throw new HawserError("credentials_missing", "This program gave no credentials to the mount.");
    const { accessKeyId, secretAccessKey, sessionToken, expiresMs } = await handOver();
    send(child, {
      type: "credentials",
      id,
      credentials: { accessKeyId, secretAccessKey, sessionToken, expiresMs },
    });
  } catch (error) {
    const failure = HawserError.is(error)
      ? error
      : new HawserError(
          "credentials_missing",
          `The program's credentials could not be had (${toHawserError(error).message}).`,
        );
    send(child, { type: "credentials", id, error: toErrorMessage(failure) });
  }
}

/**
 * Reads the mounted folder, as its users will. A thread that hangs in it is freed when the caller ends the mount.
 */
async function proveRead(mountPoint: string): Promise<void> {
  const first = (async () => {
    const folder = await opendir(mountPoint, { bufferSize: 1 });
    try {
      await folder.read();
    } finally {
      await folder.close();
    }
    return true;
  })();
  let answered: boolean | undefined;
  try {
    answered = await within(first, FIRST_READ_MS);
  } catch (error) {
    throw new HawserError(
      "mount_failed",
      `${mountPoint} is mounted but cannot be read (${toHawserError(error).message}).`,
      { cause: error },
    );
  }
  if (!answered) {
    throw new HawserError(
      "mount_failed",
      `${mountPoint} was mounted but did not answer a read within ${FIRST_READ_MS / 1000} s.`,
    );
  }
}
