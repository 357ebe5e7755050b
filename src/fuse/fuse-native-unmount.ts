/** Takes a libfuse 2 mount out of the mount table, by a command with a time limit. */
import { execFile } from "node:child_process";
import { HawserError } from "../common/errors.ts";

/** No umount takes this long: one that does waits for a file system that does not answer. */
const UMOUNT_LIMIT_MS = 10_000;

/**
 * Takes a mount out of the table. `lazy` detaches while files are open; `abort` also ends requests under way.
 *
 * Runs umount (root) or fusermount in a process of its own: a process that serves a mount must not wait on it. Nothing
 * is looked up on the mount itself, and no shell sees the path.
 *
 * @throws HawserError `mount_point_busy` when files are open and neither was asked for
 */
export async function unmountPath(mountPoint: string, how: { lazy: boolean; abort: boolean }): Promise<void> {
  const isRoot = process.getuid!() === 0;
  const command = isRoot ? "umount" : "fusermount";
  const flags = isRoot
    ? ["-i", "-c", ...(how.abort ? ["-f"] : []), ...(how.lazy || how.abort ? ["-l"] : [])]
    : ["-u", ...(how.lazy || how.abort ? ["-z"] : [])];
  const env = {
    ...process.env,
    LC_ALL: "C",
    PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`,
  };
  const complaint = await new Promise<string | undefined>((resolve) => {
    execFile(
      command,
      [...flags, "--", mountPoint],
      { timeout: UMOUNT_LIMIT_MS, env },
      (error, _stdout, stderr) => {
        resolve(error ? stderr.trim() || error.message : undefined);
      },
    );
  });
  if (complaint === undefined || /not mounted|not found in/i.test(complaint)) return;
  if (/busy/i.test(complaint)) {
    throw new HawserError(
      "mount_point_busy",
      `${mountPoint} is in use; close its files, or unmount it lazily.`,
    );
  }
  throw new HawserError("mount_failed", `${mountPoint} cannot be unmounted: ${complaint}`);
}
