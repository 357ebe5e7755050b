/**
 * Other mount namespaces that show a mount as well: containers, `unshare -m`, `ip netns exec`.
 *
 * A namespace begins as a copy of the one that it is made in, and where mounts are not shared with it (which `unshare`
 * and container engines see to), umount(2) here takes nothing away there. The kernel connection lives until the last of
 * the copies is gone, whether anybody uses it or not. Only /proc is looked at, never the mounts. Processes of other users
 * are invisible to everyone but root.
 */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { mountAt, parseMountinfo, readMounts } from "./mountinfo.ts";
import type { MountEntry } from "./mountinfo.ts";
import { usersOf } from "./process-table.ts";
import type { PathUser } from "./process-table.ts";

export interface Elsewhere {
  /** Other namespaces show the mount. */
  shown: boolean;
  /** Who has files, a working folder or a program there. */
  users: PathUser[];
}

/** Looks where else a mount is shown. */
export function lookElsewhere(mount: MountEntry): Elsewhere {
  const own = namespaceOf("self");
  const paths = new Map<string, string[]>();
  const users: PathUser[] = [];
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const namespace = namespaceOf(pid);
    if (namespace === undefined || namespace === own) continue;
    let shownAt = paths.get(namespace);
    if (!shownAt) {
      shownAt = placesOf(pid, mount);
      paths.set(namespace, shownAt);
    }
    for (const path of shownAt) users.push(...usersOf(path, [pid]));
  }
  return { shown: [...paths.values()].some((shownAt) => shownAt.length > 0), users };
}

/** Detached here, and left to namespaces in which nobody uses it: nobody will miss it. */
export function isLeftIdle(mount: MountEntry): boolean {
  const here = mountAt(mount.mountPoint, readMounts().filter(isSame(mount)));
  if (here) return false;
  const { shown, users } = lookElsewhere(mount);
  return shown && users.length === 0;
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    // It has ended, or is another user's.
    return undefined;
  }
}

function placesOf(pid: string, mount: MountEntry): string[] {
  try {
    const mounts = parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
    return mounts.filter(isSame(mount)).map(({ mountPoint }) => mountPoint);
  } catch {
    return [];
  }
}

/** A device's number is used again once it is gone. */
function isSame(mount: MountEntry): (other: MountEntry) => boolean {
  return ({ deviceMinor, type, source }) =>
    deviceMinor === mount.deviceMinor && type === mount.type && source === mount.source;
}
