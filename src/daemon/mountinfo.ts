/**
 * The kernel's mount table, read from /proc/self/mountinfo.
 *
 * It is the only way to look at a mount that may be dead or hung: any system call on the path itself could wait for a
 * process that is gone.
 */
import { readFileSync } from "node:fs";

/** How our mounts appear in the table. */
export const HAWSER_FSTYPE = "fuse.hawser";

export interface MountEntry {
  mountPoint: string;
  /** Device minor; the name of a FUSE connection below /sys/fs/fuse/connections. */
  deviceMinor: number;
  type: string;
  source: string;
  readOnly: boolean;
}

/** In mount order: of several at one path the last is on top. */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    // id parent major:minor root mountpoint options [optional fields] - type source superoptions
    const [before, after] = line.split(" - ", 2);
    if (before === undefined || after === undefined) continue;
    const [, , device, , mountPoint, options] = before.split(" ");
    const [type, source] = after.split(" ");
    if (!device || !mountPoint || !options || !type) continue;
    entries.push({
      mountPoint: unescapeOctal(mountPoint),
      deviceMinor: Number(device.split(":")[1]),
      type: unescapeOctal(type),
      source: unescapeOctal(source ?? ""),
      readOnly: options.split(",").includes("ro"),
    });
  }
  return entries;
}

/** The kernel writes space, tab, newline and backslash as `\040` and so on; bytes, not characters. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_whole, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

export function readMounts(): MountEntry[] {
  return parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** What is mounted exactly at `path`, the topmost where there are several. */
export function mountAt(path: string, mounts: readonly MountEntry[] = readMounts()): MountEntry | undefined {
  return mounts.findLast((entry) => entry.mountPoint === path);
}

/** The mount that a path lies in: the one with the longest mount point above it. */
export function mountCovering(
  path: string,
  mounts: readonly MountEntry[] = readMounts(),
): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of mounts) {
    const above =
      entry.mountPoint === "/" || path === entry.mountPoint || path.startsWith(`${entry.mountPoint}/`);
    if (above && (!best || entry.mountPoint.length >= best.mountPoint.length)) best = entry;
  }
  return best;
}
