/** What a mount point must be like. Checked before anything is mounted, without waiting for a dead mount. */
import { readdir, realpath, stat } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import { mountedAt } from "./mount-table.ts";

/**
 * @returns the canonical path, which is how the mount table shows it
 * @throws HawserError `mount_point_*`
 */
export async function checkMountPoint(path: string, nonempty: boolean): Promise<string> {
  if (!isAbsolute(path)) {
    throw new HawserError("mount_point_forbidden", `The mount point '${path}' must be an absolute path.`);
  }
  await refuseMounted(resolve(path));
  const canonical = await canonicalPath(path);
  await refuseMounted(canonical);
  if (!(await stat(canonical)).isDirectory()) {
    throw new HawserError("mount_point_not_directory", `The mount point '${path}' is not a folder.`);
  }
  if (!nonempty && (await readdir(canonical)).length > 0) {
    throw new HawserError(
      "mount_point_not_empty",
      `The folder '${path}' has content, which a mount would hide; use an empty folder or --nonempty.`,
    );
  }
  return canonical;
}

/** Only FUSE mounts are refused: a folder may well be the root of a disk of its own. */
async function refuseMounted(path: string): Promise<void> {
  const mounted = await mountedAt(path);
  if (!mounted?.type.startsWith("fuse")) return;
  throw new HawserError("mount_point_busy", `Something is mounted at '${path}' already (${mounted.type}).`);
}

async function canonicalPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") {
      throw new HawserError(
        "mount_point_missing",
        `The mount point '${path}' does not exist; create it first.`,
      );
    }
    if (code === "ENOTDIR") {
      throw new HawserError("mount_point_not_directory", `A part of the path '${path}' is not a folder.`);
    }
    if (code === "ENOTCONN") {
      throw new HawserError("mount_point_busy", `A dead mount is at '${path}'; unmount it first.`);
    }
    throw new HawserError("fuse_denied", `The mount point '${path}' cannot be reached: ${String(error)}`);
  }
}
