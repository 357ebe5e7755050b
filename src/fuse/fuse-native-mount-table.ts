/** The kernel's mount table, and the commands that take a mount out of it, each with a time limit. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { HawserError } from "../common/errors.ts";

/** No umount takes this long: one that does waits for a file system that does not answer. */
const UMOUNT_LIMIT_MS = 10_000;

/** The id of the topmost mount at `mountPoint`, or undefined. Reads the table only, never the mount. */
export async function findMountId(mountPoint: string): Promise<number | undefined> {
  let id: number | undefined;
  for (const line of (await readFile("/proc/self/mountinfo", "utf8")).split("\n")) {
    const fields = line.split(" ");
    if (fields[4] !== undefined && unescapeOctal(fields[4]) === mountPoint) id = Number(fields[0]);
  }
  return id;
}

/** mountinfo writes space, tab, newline and backslash as `\040` and so on. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

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
