/**
 * Detaching a mount from outside, for when its own process is gone or does not answer.
 *
 * Root uses umount(8), everybody else fusermount3. Neither can hang when lazy; the connection is aborted through
 * fusectl where waiting requests must be ended.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { mountAt } from "./mountinfo.ts";
import type { MountEntry } from "./mountinfo.ts";

const run = promisify(execFile);

const TOOL_TIMEOUT_MS: Milliseconds = 10_000;

/** Takes the topmost mount at a path away from the file tree at once; open files live on until they are closed. */
export async function detachLazily(mountPoint: string): Promise<void> {
  const asRoot = process.getuid?.() === 0;
  const [tool, args] = asRoot
    ? // -c: the path is looked up in the mount table, not on the mount.
      (["umount", ["-i", "-c", "-l", "--", mountPoint]] as const)
    : (["fusermount3", ["-u", "-z", "--", mountPoint]] as const);
  try {
    await run(tool, [...args], { timeout: TOOL_TIMEOUT_MS, killSignal: "SIGKILL" });
  } catch (error) {
    if (!mountAt(mountPoint)) return;
    const reason = error instanceof Error ? error.message.trim() : String(error);
    throw new HawserError(
      "permission_denied",
      `${mountPoint} could not be unmounted (${reason}); try it as root.`,
      { cause: error },
    );
  }
}

/**
 * Ends a FUSE connection: every waiting and later request fails. The last resort against a process that does not
 * answer. @returns false where fusectl is not mounted or not ours to use
 */
export function abortConnection(mount: MountEntry): boolean {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${mount.deviceMinor}/abort`, "1");
    return true;
  } catch {
    return false;
  }
}
