/**
 * Ending a mount from another process: by asking its own, or without it when that is dead or does not answer.
 *
 * Every wait is bounded. What is left to the user is said with the option that goes further.
 */
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { callDaemon } from "./control-client.ts";
import { until, within } from "./deadline.ts";
import { abortConnection, detachLazily } from "./detach.ts";
import { mountAt } from "./mountinfo.ts";
import type { KnownMount } from "./mounts.ts";
import { lookElsewhere } from "./other-namespaces.ts";
import { probe } from "./probe.ts";
import { isAlive, usersOf } from "./process-table.ts";
import type { PendingProgress } from "./write-control.ts";

export interface EndOptions {
  /** Free the path at once; open files go on until they are closed. */
  lazy?: boolean;
  /** End open files and waiting readers with errors; kill the process if need be. */
  force?: boolean;
  /** Told what is left to be uploaded, a few times a second. */
  onProgress?: (progress: PendingProgress) => void;
}

/** How long the mount's process may take to answer; what it waits for itself is bounded too. */
const ANSWER_MS: Milliseconds = 60_000;
/** How long the process may take to end once the path is free. */
const EXIT_MS: Milliseconds = 20_000;
/** How long a process that said nothing for so long may still take to prove that it is ending. */
const ENDING_MS: Milliseconds = 3000;
const PROBE_MS: Milliseconds = 10_000;

/**
 * Unmounts and waits until the mount's process has ended (or, with `lazy`, until the path is free).
 *
 * @returns what was unusual, for the user
 * @throws HawserError `mount_point_busy` with who keeps it busy, `daemon_failed`, `permission_denied`
 */
export async function endMount(mount: KnownMount, options: EndOptions = {}): Promise<string[]> {
  const { folder, mountPoint } = mount;
  if (!folder) return await endForeign(mount, options);
  const owner = folder.liveOwner();
  if (!owner) {
    await clear(mount);
    folder.release();
    return [`${mountPoint}: its process had been killed; the dead mount was cleared`];
  }
  const notes: string[] = [];
  const asked = performance.now();
  try {
    const { lazy, force, onProgress } = options;
    const waitsForUploads = mount.settings?.volume.mode === "writable" && !lazy && !force;
    await callDaemon(
      folder.socketPath,
      "unmount",
      { ...(lazy ? { lazy } : {}), ...(force ? { force } : {}) },
      {
        ...(waitsForUploads ? {} : { timeoutMs: ANSWER_MS }),
        onEvent: (event) => onProgress?.(event as PendingProgress),
      },
    );
  } catch (error) {
    if (HawserError.is(error, "mount_point_busy")) throw busy(mount);
    if (HawserError.is(error) && error.code !== "daemon_failed") {
      await until(() => !isAlive(owner), EXIT_MS);
      throw notUploaded(mountPoint, error);
    }
    // It may be ending while it was asked, which is what was wanted: who breaks the conversation off is given as long as
    // who has answered.
    const endingMs = performance.now() - asked < ANSWER_MS ? EXIT_MS : ENDING_MS;
    if (!(await until(() => !isAlive(owner), endingMs))) {
      if (!options.force) {
        throw new HawserError(
          "daemon_failed",
          `${mountPoint}: its process (${owner.pid}) does not answer; end it with --force.`,
          { cause: error },
        );
      }
      process.kill(owner.pid, "SIGKILL");
      notes.push(`${mountPoint}: its process did not answer and was killed`);
      await until(() => !isAlive(owner), EXIT_MS);
      await clear(mount);
      folder.release();
      return notes;
    }
  }
  if (options.lazy) return notes;
  if (!(await until(() => !isAlive(owner), EXIT_MS))) {
    throw new HawserError(
      "daemon_failed",
      `${mountPoint} is unmounted, but its process (${owner.pid}) has not ended; see ${folder.logPath}.`,
    );
  }
  return notes;
}

/** Takes away what a dead process left. */
async function clear({ mountPoint, entry }: KnownMount): Promise<void> {
  if (!entry || mountAt(mountPoint)?.deviceMinor !== entry.deviceMinor) return;
  abortConnection(entry);
  await detachLazily(mountPoint);
}

async function endForeign(mount: KnownMount, { lazy, force }: EndOptions): Promise<string[]> {
  const { mountPoint } = mount;
  if (!lazy && !force) {
    const answer = await within(probe(mountPoint, PROBE_MS), PROBE_MS * 2);
    if (answer?.state !== "dead") {
      throw new HawserError(
        "mount_point_busy",
        `${mountPoint} is served by a Hawser that is not in your state folder; unmount it as its user, or detach it with --lazy.`,
      );
    }
  }
  await clear(mount);
  return [`${mountPoint}: detached without its process, which is not in your state folder`];
}

function notUploaded(mountPoint: string, error: HawserError): HawserError {
  return new HawserError(
    error.code,
    `${mountPoint} is unmounted, but not all of it is in the bucket: ${error.message} What is missing waits on this machine for the next mount of the volume.`,
    { cause: error },
  );
}

function busy({ mountPoint, entry }: KnownMount): HawserError {
  const users = [...usersOf(mountPoint), ...(entry ? lookElsewhere(entry).users : [])];
  const who = users.slice(0, 5).map(({ pid, command }) => `${command} (${pid})`);
  if (users.length > who.length) who.push(`${users.length - who.length} more`);
  const by = who.length > 0 ? ` by ${who.join(", ")}` : "";
  return new HawserError(
    "mount_point_busy",
    `${mountPoint} is in use${by}; close its files, free the path at once with --lazy, or end them with --force.`,
  );
}
