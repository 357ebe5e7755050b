/**
 * Mount paths: which ones are refused before anything happens, as pure functions of the path's text.
 *
 * A mount hides what is below it, so a system folder under a mount takes the machine with it. Folders inside these
 * (`/home/me/data`, `/opt/data`, `/var/data`) are fine, except where the whole subtree belongs to the system.
 */

/** Refused themselves; folders below are fine. */
const SYSTEM_FOLDERS = new Set([
  "/",
  "/home",
  "/opt",
  "/root",
  "/run",
  "/tmp",
  "/usr",
  "/usr/local",
  "/var",
  "/var/cache",
  "/var/lib",
  "/var/log",
  "/var/run",
  "/var/spool",
  "/var/tmp",
]);

/** Refused with everything below. */
const SYSTEM_TREES = [
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/proc",
  "/sbin",
  "/sys",
  "/usr/bin",
  "/usr/include",
  "/usr/lib",
  "/usr/lib32",
  "/usr/lib64",
  "/usr/libexec",
  "/usr/sbin",
  "/usr/share",
  "/var/lib/dpkg",
  "/var/lib/rpm",
];

/** Why a path cannot be a mount point, as the end of a sentence; undefined when it can. */
export function refusePath(path: string): string | undefined {
  const tree = SYSTEM_TREES.find((root) => path === root || path.startsWith(`${root}/`));
  if (tree === undefined && !SYSTEM_FOLDERS.has(path)) return undefined;
  const where =
    tree === undefined || tree === path
      ? `${path} is a system folder`
      : `${path} is inside the system folder ${tree}`;
  return `${where} and cannot be a mount point; use a folder of its own such as ${tree === undefined && path !== "/" ? path : ""}/data.`;
}

/** Why two volumes cannot be mounted together; undefined when they can. */
export function overlaps(first: string, second: string): string | undefined {
  if (first === second) return `two volumes are mounted at ${first}; give each a folder of its own.`;
  const [outer, inner] = first.length < second.length ? [first, second] : [second, first];
  if (!inner.startsWith(`${outer}/`)) return undefined;
  return `${inner} is inside ${outer}, which is another volume; mount them side by side.`;
}
