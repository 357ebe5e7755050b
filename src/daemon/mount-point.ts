/**
 * The checks of a mount point before a mount, and the clearing of what a killed process left there.
 *
 * A path where something may be mounted is first looked up in the mount table; only a path that lies in a file system
 * that answers is touched.
 */
import { lstat, readdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { refusePath } from "../config/mount-path.ts";
import { abortConnection, detachLazily } from "./detach.ts";
import { HAWSER_FSTYPE, mountAt, mountCovering } from "./mountinfo.ts";
import type { MountEntry } from "./mountinfo.ts";
import { probe } from "./probe.ts";
import { StateFolder } from "./state-folder.ts";

/** How long a file system may take to answer before it counts as hung. */
const PROBE_MS: Milliseconds = 5000;

export interface MountPointCheck {
  /** The path with symbolic links resolved: what the kernel calls it. */
  mountPoint: string;
  /** What was done on the way, for the user. */
  notes: string[];
}

/**
 * Makes sure that `path` can be mounted on, clearing a dead mount of ours.
 *
 * @throws HawserError `mount_point_missing`, `mount_point_not_directory`, `mount_point_not_empty`,
 *   `mount_point_busy`, `mount_point_forbidden`, `permission_denied`
 */
export async function prepareMountPoint(
  path: string,
  { nonempty, stateRoot }: { nonempty: boolean; stateRoot: string },
): Promise<MountPointCheck> {
  const notes: string[] = [];
  const mountPoint = await canonicalPath(path);
  if (mountPoint !== path) {
    const refused = refusePath(mountPoint);
    if (refused) throw new HawserError("mount_point_forbidden", `${path} leads to ${mountPoint}: ${refused}`);
  }
  for (let mount = mountAt(mountPoint); mount; mount = mountAt(mountPoint)) {
    notes.push(await clearDead(mount, stateRoot));
  }
  await requireAnswer(mountPoint);
  await requireFolder(path, mountPoint, nonempty);
  return { mountPoint, notes };
}

/**
 * Resolves symbolic links without touching a mount point itself: one that is in the mount table is already in its
 * final form, and for others the parent is resolved first.
 */
export async function canonicalPath(path: string): Promise<string> {
  if (mountAt(path)) return path;
  const parent = dirname(path);
  if (mountCovering(path)?.type.startsWith("fuse")) await requireAnswer(parent);
  try {
    const candidate = join(await realpath(parent), basename(path));
    return mountAt(candidate) ? candidate : await realpath(candidate);
  } catch (error) {
    throw missingOr(error, path);
  }
}

function missingOr(error: unknown, path: string): HawserError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") {
    return new HawserError(
      "mount_point_missing",
      `The mount point ${path} does not exist; make it with: mkdir -p '${path.replaceAll("'", `'\\''`)}'`,
      {
        cause: error,
      },
    );
  }
  if (code === "ENOTDIR") {
    return new HawserError(
      "mount_point_not_directory",
      `A part of ${path} is a file; the mount point must be a folder.`,
      { cause: error },
    );
  }
  return new HawserError(
    "permission_denied",
    `The mount point ${path} cannot be used (${code}); check its permissions.`,
    { cause: error },
  );
}

/** Removes one dead mount of ours. @throws HawserError `mount_point_busy` when it is alive or not ours */
async function clearDead(mount: MountEntry, stateRoot: string): Promise<string> {
  const { mountPoint, type, source } = mount;
  if (type !== HAWSER_FSTYPE) {
    throw new HawserError(
      "mount_point_busy",
      `${mountPoint} is in use: ${source} (${type}) is mounted there; unmount it or choose another folder.`,
    );
  }
  const folder = StateFolder.for(stateRoot, mountPoint);
  if (folder.liveOwner()) {
    throw new HawserError(
      "mount_point_busy",
      `${source} is already mounted at ${mountPoint}; unmount it first with: hawser unmount ${mountPoint}`,
    );
  }
  const known = folder.owner() !== undefined;
  if (!known) {
    // Not in our state: another user's or another namespace's, unless the kernel says that nobody serves it.
    const { state } = await probe(mountPoint, PROBE_MS);
    if (state !== "dead") {
      throw new HawserError(
        "mount_point_busy",
        `${source} is mounted at ${mountPoint} by a Hawser that is not yours to see; unmount it there.`,
      );
    }
  }
  // A descriptor that was inherited by another process would keep the dead connection open, and its readers waiting.
  abortConnection(mount);
  await detachLazily(mountPoint);
  folder.release();
  return `cleared a dead mount of ${source} at ${mountPoint}: its process had been killed`;
}

async function requireAnswer(path: string): Promise<void> {
  const covering = mountCovering(path);
  if (!covering?.type.startsWith("fuse") && !covering?.type.startsWith("nfs")) return;
  const { state } = await probe(path, PROBE_MS);
  if (state === "dead" || state === "hung") {
    const how = state === "dead" ? "is dead (its process is gone)" : "does not answer";
    throw new HawserError(
      "mount_point_busy",
      `${path} lies in ${covering.mountPoint}, a mount that ${how}; unmount that first: umount -l ${covering.mountPoint}`,
    );
  }
}

async function requireFolder(path: string, mountPoint: string, nonempty: boolean): Promise<void> {
  try {
    const stat = await lstat(mountPoint);
    if (!stat.isDirectory()) {
      throw new HawserError(
        "mount_point_not_directory",
        `${path} is a file; the mount point must be a folder.`,
      );
    }
    if (nonempty) return;
    const names = await readdir(mountPoint);
    if (names.length > 0) {
      const what = names.length === 1 ? `'${names[0]}'` : `${names.length} entries`;
      throw new HawserError(
        "mount_point_not_empty",
        `${path} is not empty (${what}); empty it, or hide its content with --nonempty.`,
      );
    }
  } catch (error) {
    throw HawserError.is(error) ? error : missingOr(error, path);
  }
}
