/**
 * The mount table, from /proc/self/mountinfo: the one way to learn of a mount without touching it. A process that
 * touches the mount it serves waits for itself.
 */
import { readFile } from "node:fs/promises";

export interface MountTableEntry {
  mountPoint: string;
  /** Of the mounted device; the minor number names a FUSE connection below /sys/fs/fuse/connections. */
  major: number;
  minor: number;
  type: string;
}

/** In mount order: the last of several at one path is on top. */
export function parseMountTable(text: string): MountTableEntry[] {
  const entries: MountTableEntry[] = [];
  for (const line of text.split("\n")) {
    // 36 35 98:0 /root /mount/point options [optional fields] - type source superoptions
    const [before, after] = line.split(" - ", 2);
    const [, , device, , mountPoint] = before!.split(" ");
    const match = /^(\d+):(\d+)$/.exec(device ?? "");
    if (!match || !mountPoint || after === undefined) continue;
    entries.push({
      mountPoint: unescapeOctal(mountPoint),
      major: Number(match[1]),
      minor: Number(match[2]),
      type: after.split(" ", 1)[0]!,
    });
  }
  return entries;
}

/** Space, tab, newline and backslash are written as three octal digits. All are ASCII; the rest is UTF-8 as it is. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** What is mounted at exactly this path, on top; undefined when nothing is. */
export async function mountedAt(path: string): Promise<MountTableEntry | undefined> {
  const table = parseMountTable(await readFile("/proc/self/mountinfo", "utf8"));
  return table.findLast((entry) => entry.mountPoint === path);
}
