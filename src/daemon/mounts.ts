/**
 * The mounts of this user: what the state folders and the mount table together say.
 *
 * Neither is enough alone. A folder without a line in the table is a mount that is beginning or was detached; a line
 * without a folder is somebody else's; a folder whose process is gone is dead, and its line answers ENOTCONN.
 */
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { volumeUrl } from "../config/volume.ts";
import { callDaemon } from "./control-client.ts";
import type { MountStatus } from "./control-protocol.ts";
import { HAWSER_FSTYPE, readMounts } from "./mountinfo.ts";
import type { MountEntry } from "./mountinfo.ts";
import type { MountSettings } from "./settings.ts";
import { StateFolder, stateRoot } from "./state-folder.ts";

export interface KnownMount {
  mountPoint: string;
  source: string;
  name: string;
  /** Absent for a mount that is not in our state. */
  folder?: StateFolder;
  settings?: MountSettings;
  /** Absent when the path is not mounted (any more). */
  entry?: MountEntry;
  /** The process that serves it; absent when dead or not ours. */
  pid?: number;
}

/** Every mount of ours and every other Hawser mount of this machine, by mount point. Asks no mount and no process. */
export function knownMounts(root: string = stateRoot()): KnownMount[] {
  const entries = readMounts().filter(({ type }) => type === HAWSER_FSTYPE);
  const known = new Map<string, KnownMount>();
  for (const entry of entries) {
    const { mountPoint, source } = entry;
    known.set(mountPoint, { mountPoint, source, entry, name: "" });
  }
  for (const folder of StateFolder.list(root)) {
    const settings = readSettings(folder);
    if (!settings) continue;
    const { mountPoint, name, volume } = settings;
    const entry = known.get(mountPoint)?.entry;
    const pid = folder.liveOwner()?.pid;
    known.set(mountPoint, {
      mountPoint,
      name,
      source: volumeUrl(volume),
      folder,
      settings,
      ...(entry ? { entry } : {}),
      ...(pid === undefined ? {} : { pid }),
    });
  }
  return [...known.values()].sort((a, b) => (a.mountPoint < b.mountPoint ? -1 : 1));
}

function readSettings(folder: StateFolder): MountSettings | undefined {
  try {
    return folder.settings();
  } catch (error) {
    // Being written or removed right now, or another version's: not a mount that can be talked to.
    if (HawserError.is(error)) return undefined;
    throw error;
  }
}

/** The mount at a path as the user writes it, or with this name. */
export function findMount(
  pathOrName: string,
  mounts: readonly KnownMount[] = knownMounts(),
): KnownMount | undefined {
  const path = pathOrName.length > 1 ? pathOrName.replace(/\/+$/, "") : pathOrName;
  return (
    mounts.find(({ mountPoint }) => mountPoint === path) ??
    mounts.find(({ settings }) => settings?.volume.mount === path) ??
    mounts.find(({ name }) => name !== "" && name === path)
  );
}

export type MountReport =
  | { state: "serving" | "mounting" | "unmounting"; mount: KnownMount; status: MountStatus }
  /** Its process lives and did not answer. */
  | { state: "not answering"; mount: KnownMount }
  /** Its process is gone; the next `hawser mount` or `unmount` clears it. */
  | { state: "dead"; mount: KnownMount }
  /** Somebody else's. */
  | { state: "foreign"; mount: KnownMount };

/** How long a mount's process may take to say how it does. */
const STATUS_MS: Milliseconds = 10_000;

export async function reportOn(mount: KnownMount): Promise<MountReport> {
  if (!mount.folder) return { state: "foreign", mount };
  if (mount.pid === undefined) return { state: "dead", mount };
  try {
    const status = await callDaemon(mount.folder.socketPath, "status", {}, { timeoutMs: STATUS_MS });
    return { state: status.state, mount, status };
  } catch {
    return { state: mount.folder.liveOwner() ? "not answering" : "dead", mount };
  }
}
