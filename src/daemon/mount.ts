/** Mounting from a program: what `hawser mount` does, as a function. */
import { resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import { defaultName } from "../config/file.ts";
import { parseVolume } from "../config/volume.ts";
import type { LogLevel } from "../observe/logger.ts";
import { callDaemon } from "./control-client.ts";
import type { MountStatus } from "./control-protocol.ts";
import { endMount } from "./end-mount.ts";
import type { EndOptions } from "./end-mount.ts";
import { launch } from "./launch.ts";
import type { LaunchedMount } from "./launch.ts";
import { findMount } from "./mounts.ts";
import { handOver, splitCredentials } from "./volume-request.ts";
import type { VolumeOptions } from "./volume-request.ts";

export interface MountOptions extends VolumeOptions {
  /** What goes into the mount's log; `info` when absent. */
  logLevel?: LogLevel | undefined;
  /** Log there instead of in the state folder. */
  logFile?: string | undefined;
  /**
   * Let the mount live on when this program ends; false when absent. A mount whose credentials come from this program
   * (keys or a function) cannot outlive them.
   */
  detached?: boolean | undefined;
}

/** How long a mount's process may take to say how it does. */
const STATUS_MS = 5000;

/** A mount in a process of its own. */
export class MountedVolume implements AsyncDisposable {
  /** With symbolic links resolved. */
  readonly mountPoint: string;
  /** The process that serves it. */
  readonly pid: number;
  /** What the mount had to say: an empty prefix, a dead mount that was cleared. */
  readonly notes: readonly string[];
  /** Settles when the mount is gone, for whatever reason. Never rejects. */
  readonly ended: Promise<void>;
  private readonly launched: LaunchedMount;

  constructor(launched: LaunchedMount) {
    this.launched = launched;
    this.mountPoint = launched.status.mountPoint;
    this.pid = launched.status.pid;
    this.notes = launched.notes;
    this.ended = launched.ended;
  }

  /** @throws HawserError `daemon_failed` when it is gone or does not answer */
  status(): Promise<MountStatus> {
    return callDaemon(this.launched.folder.socketPath, "status", {}, { timeoutMs: STATUS_MS });
  }

  /**
   * Unmounts and waits for the end. Does nothing when the mount is gone already.
   *
   * @throws HawserError `mount_point_busy` when files are open and neither `lazy` nor `force` was given
   */
  async unmount(options: EndOptions = {}): Promise<void> {
    const mount = findMount(this.mountPoint);
    // Another mount may have taken the path since.
    if (mount?.pid === this.pid) await endMount(mount, options);
    else if (!options.lazy) await this.ended;
  }

  /** Unmounts, ending open files if it must. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount({ force: true });
  }
}

/**
 * Mounts a volume and resolves when the folder answers. The mount ends with this program, unless `detached`.
 *
 * @throws HawserError `invalid_argument`, `mount_point_*`, `fuse_*`, `credentials_*`, `bucket_not_found`, …
 */
export async function mount(options: MountOptions): Promise<MountedVolume> {
  const { logLevel, logFile, detached = false, ...rest } = options;
  const { raw, provider } = splitCredentials(rest);
  const volume = parseVolume(raw);
  const hand = handOver(volume.credentials, provider);
  if (detached && hand) {
    throw new HawserError(
      "invalid_argument",
      "A mount whose credentials come from this program ends with it; leave 'detached' away, or name a profile.",
    );
  }
  const launched = await launch({
    volume: { ...volume, name: volume.name ?? defaultName(volume.mount) },
    handOver: hand,
    environment: process.env,
    logLevel,
    logFile: logFile === undefined ? undefined : resolve(logFile),
  });
  if (detached) await launched.detach();
  else launched.unref();
  return new MountedVolume(launched);
}
