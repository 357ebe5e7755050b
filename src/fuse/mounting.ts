/**
 * Mounting: how a canonical, checked folder becomes a mount with a /dev/fuse descriptor, and how it ends.
 *
 * Root calls mount(2) and umount2(2). Everybody else goes through fusermount3 (or fusermount), the set-user-ID program
 * that distributions ship for this; it hands the descriptor over a socket. Nothing here looks into the mount.
 */
import { execFile } from "node:child_process";
import { closeSync, existsSync } from "node:fs";
import { access, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { HawserError } from "../common/errors.ts";
import { native } from "../common/native.ts";
import type { MountOptions } from "./channel.ts";
import { mountedAt } from "./mount-table.ts";

const run = promisify(execFile);

export const FUSE_DEVICE = "/dev/fuse";
export const MOUNT_TYPE = "fuse.hawser";

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MNT_FORCE = 1;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const FUSERMOUNT_PATHS = ["/usr/bin", "/bin", "/usr/local/bin"].flatMap((folder) => [
  `${folder}/fusermount3`,
  `${folder}/fusermount`,
]);

function isRoot(): boolean {
  return process.geteuid!() === 0;
}

/** @returns the descriptor of the connection, owned by the caller */
export async function mountFolder(folder: string, options: MountOptions): Promise<number> {
  if (!existsSync(FUSE_DEVICE)) {
    throw new HawserError(
      "fuse_missing",
      `${FUSE_DEVICE} is not there. Load it with 'modprobe fuse'; in a container add --device ${FUSE_DEVICE}.`,
    );
  }
  return isRoot() ? await mountAsRoot(folder, options) : await mountByFusermount(folder, options);
}

async function mountAsRoot(folder: string, options: MountOptions): Promise<number> {
  const addon = native();
  let fd = -1;
  try {
    fd = addon.openDevice(FUSE_DEVICE);
    const data = [
      `fd=${fd}`,
      "rootmode=40000",
      `user_id=${options.ownerUid ?? 0}`,
      `group_id=${options.ownerGid ?? 0}`,
      "default_permissions",
      ...(options.allowOther ? ["allow_other"] : []),
    ].join(",");
    const flags = MS_NOSUID | MS_NODEV | (options.readOnly ? MS_RDONLY : 0);
    await addon.mount(options.source, folder, MOUNT_TYPE, flags, data);
    return fd;
  } catch (error) {
    if (fd >= 0) closeSync(fd);
    throw mountError(error, folder);
  }
}

function mountError(error: unknown, folder: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "EPERM":
    case "EACCES":
      return new HawserError(
        "fuse_denied",
        `Mounting at '${folder}' is not allowed (${message}). ` +
          `In a container add --cap-add SYS_ADMIN --device ${FUSE_DEVICE}.`,
        { cause: error },
      );
    case "ENODEV":
    case "ENXIO":
      return new HawserError("fuse_missing", `The kernel has no FUSE: load it with 'modprobe fuse'.`, {
        cause: error,
      });
    case "ENOENT":
      return new HawserError("mount_point_missing", `The mount point '${folder}' is gone.`, { cause: error });
    case "EBUSY":
      return new HawserError("mount_point_busy", `The mount point '${folder}' is in use.`, { cause: error });
    case undefined:
      return error;
    default:
      return new HawserError("mount_failed", `Mounting at '${folder}' failed: ${message}.`, { cause: error });
  }
}

async function mountByFusermount(folder: string, options: MountOptions): Promise<number> {
  const program = fusermountPath();
  const list = [
    options.readOnly ? "ro" : "rw",
    "nosuid",
    "nodev",
    "default_permissions",
    "subtype=hawser",
    `fsname=${options.source.replace(/[\\,]/g, String.raw`\$&`)}`,
    ...(options.allowOther ? ["allow_other"] : []),
    // fusermount3 mounts over content without being told; the older one must be.
    ...(options.nonempty && !program.endsWith("3") ? ["nonempty"] : []),
  ];
  try {
    return await native().fusermount(program, list.join(","), folder);
  } catch (error) {
    const said = String(Reflect.get(Object(error), "detail") ?? "");
    const hint = fusermountHint(said);
    throw new HawserError("fuse_denied", `${program} refused the mount at '${folder}': ${said}.${hint}`, {
      cause: error,
    });
  }
}

function fusermountHint(said: string): string {
  if (said.includes("user_allow_other")) {
    return " Add a line 'user_allow_other' to /etc/fuse.conf, or leave allow_other away.";
  }
  if (said.includes(FUSE_DEVICE)) return ` Let users open the device: chmod 666 ${FUSE_DEVICE}.`;
  if (said.includes("mountpoint")) return " The mount point must belong to the user.";
  return "";
}

function fusermountPath(): string {
  const found = FUSERMOUNT_PATHS.find((path) => existsSync(path));
  if (found) return found;
  throw new HawserError(
    "fuse_missing",
    "fusermount3 is not installed, and only root can mount without it. " +
      "Debian, Ubuntu: apt-get install fuse3. Fedora, Amazon Linux 2023: dnf install fuse3.",
  );
}

/**
 * Unmounts the folder, also when nothing is mounted there any more.
 *
 * @param lazy detach now and let open files live on
 * @throws HawserError `mount_point_busy` when files are open and not `lazy`
 */
export async function unmountFolder(folder: string, lazy: boolean): Promise<void> {
  try {
    if (isRoot()) await native().unmount(folder, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0));
    else await run(fusermountPath(), ["-u", "-q", ...(lazy ? ["-z"] : []), "--", folder]);
  } catch (error) {
    if ((await mountedAt(folder)) === undefined) return;
    if (!lazy) {
      throw new HawserError(
        "mount_point_busy",
        `'${folder}' is in use: close the files and leave the folders below it, or unmount lazily.`,
        { cause: error },
      );
    }
    throw new HawserError("mount_failed", `'${folder}' cannot be unmounted: ${String(error)}`, {
      cause: error,
    });
  }
}

/**
 * Ends a connection whatever is under way: waiting callers get an error, and the mount is detached.
 *
 * @param minor of the mounted device
 * @returns whether the connection was aborted; without it, it ends when its last descriptor closes
 */
export async function abortMount(folder: string, minor: number): Promise<boolean> {
  const mounted = await mountedAt(folder);
  const isOurs = mounted?.minor === minor && mounted.type === MOUNT_TYPE;
  const aborted = await abortByControl(minor);
  if (!isOurs) return aborted;
  if (!isRoot()) {
    await run(fusermountPath(), ["-u", "-q", "-z", "--", folder]);
    return aborted;
  }
  // MNT_FORCE aborts the connection, also where fusectl is not mounted.
  await native().unmount(folder, UMOUNT_NOFOLLOW | MNT_DETACH | MNT_FORCE);
  return true;
}

async function abortByControl(minor: number): Promise<boolean> {
  const control = `/sys/fs/fuse/connections/${minor}/abort`;
  try {
    await access(control);
    await writeFile(control, "1");
    return true;
  } catch {
    return false;
  }
}
