/** Paths that users type, as paths inside mounts. */
import { realpathSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { KnownMount } from "../daemon/mounts.ts";

/** A mount, and a path below its root; empty for the root itself. */
export interface MountPath {
  mount: KnownMount;
  path: string;
}

/**
 * The mount that a path is in.
 *
 * @param text as typed; relative to `folder`
 * @throws HawserError `not_mounted`
 */
export function findMountPath(text: string, folder: string, mounts: readonly KnownMount[]): MountPath {
  const path = absolute(text, folder);
  const found = within(path, mounts) ?? within(throughLinks(path), mounts);
  if (found) return found;
  const known = mounts.map(({ mountPoint }) => mountPoint).join(", ");
  throw new HawserError(
    "not_mounted",
    `${path} is in no volume of this machine${known === "" ? "; nothing is mounted." : `; mounted are ${known}.`}`,
  );
}

/** Without touching a mount: what is in it may be a glob. A trailing slash stays a glob's own business. */
function absolute(text: string, folder: string): string {
  return isAbsolute(text) ? resolve(text) : resolve(folder, text);
}

function within(path: string, mounts: readonly KnownMount[]): MountPath | undefined {
  let best: MountPath | undefined;
  for (const mount of mounts) {
    const points = [mount.mountPoint, mount.settings?.volume.mount ?? mount.mountPoint];
    for (const point of points) {
      if (path !== point && !path.startsWith(`${point}/`)) continue;
      if (best && best.mount.mountPoint.length >= mount.mountPoint.length) continue;
      best = { mount, path: path.slice(point.length + 1) };
    }
  }
  return best;
}

/** The path with the symbolic links of the longest part that exists resolved. */
function throughLinks(path: string): string {
  for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
    try {
      return realpathSync(path.slice(0, end)) + path.slice(end);
    } catch {
      // It may exist further up.
    }
  }
  return path;
}

/** @throws HawserError `not_mounted` for a mount that nobody serves */
export function socketOf({ folder, pid, mountPoint }: KnownMount): string {
  if (folder && pid !== undefined) return folder.socketPath;
  const why = folder ? "is dead; clear it with 'hawser unmount'" : "is another user's";
  throw new HawserError("not_mounted", `The mount at ${mountPoint} ${why}.`);
}
