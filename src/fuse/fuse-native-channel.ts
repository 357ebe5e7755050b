/**
 * The fuse-native channel: libfuse 2 through the npm package fuse-native, for machines without our addon.
 *
 * libfuse runs the mount on threads of its own and calls us by path; PathOperations turns that into calls of the
 * Filesystem. It tells nobody when the mount ends: what can be seen is that libfuse closes its /dev/fuse descriptor
 * then. So that descriptor is found right after mounting and looked at ten times a second, by name, which touches
 * neither the mount nor the disk.
 */
import { access, constants, readdir, readlink } from "node:fs/promises";
import { HawserError } from "../common/errors.ts";
import type { Logger } from "../observe/logger.ts";
import type { Filesystem, Kernel } from "../vfs/filesystem.ts";
import type { Channel, ChannelEnd, ChannelSettings, MountOptions } from "./channel.ts";
import { PathOperations } from "./fuse-native-operations.ts";
import { prepareFuseNative, type FuseNativeMount } from "./fuse-native-package.ts";
import { unmountPath } from "./fuse-native-unmount.ts";
import { checkMountPoint } from "./mount-point.ts";
import { mountedAt } from "./mount-table.ts";

const DEVICE = "/dev/fuse";
const WATCH_INTERVAL_MS = 100;
/** How long close() waits for libfuse's threads before it leaves them behind: a request of theirs may never end. */
const CLOSE_GRACE_MS = 2000;
/** The package copies mount point and options into 1024 bytes each. */
const MAX_MOUNT_POINT_BYTES = 1000;
const MAX_SOURCE_BYTES = 600;

/** libfuse 2.9 speaks 7.19, asks for 128 KiB at a time, and knows no readdirplus, passthrough or notify from here. */
const SETTINGS: ChannelSettings = {
  kind: "fuse-native",
  protocolMajor: 7,
  protocolMinor: 19,
  maxWriteBytes: 128 * 1024,
  maxReadaheadBytes: 128 * 1024,
  readdirPlus: false,
  passthrough: false,
  notify: false,
  resend: false,
};

/** Nothing can be asked of the kernel: names and attributes are believed for a second, pages until the next open. */
const NO_KERNEL: Kernel = {
  passthrough: false,
  invalidateEntry: () => Promise.resolve(),
  invalidateInode: () => Promise.resolve(),
  openBacking: () => undefined,
  closeBacking: () => {},
};

export interface FuseNativeChannelOptions {
  logger: Logger;
}

interface Mounted {
  readonly mountPoint: string;
  /** The kernel's device number of this mount; another mount over it has another one. */
  readonly device: string | undefined;
  readonly fuse: FuseNativeMount;
  readonly operations: PathOperations;
  /** libfuse's descriptor in this process. */
  readonly descriptor: string;
}

export class FuseNativeChannel implements Channel {
  readonly kind = "fuse-native";
  readonly ended: Promise<ChannelEnd>;
  readonly #logger: Logger;
  #end: (end: ChannelEnd) => void = () => {};
  #hasEnded = false;
  #mounted: Mounted | undefined;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: FuseNativeChannelOptions) {
    this.#logger = options.logger;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  async mount(filesystem: Filesystem, options: MountOptions): Promise<ChannelSettings> {
    if (this.#mounted || this.#hasEnded) throw new HawserError("closed", "A channel mounts once.");
    refuseOtherOwner(options);
    await checkDevice();
    const mountPoint = await checkMountPoint(options.mountPoint, options.nonempty);
    if (Buffer.byteLength(mountPoint) > MAX_MOUNT_POINT_BYTES) {
      throw new HawserError("mount_failed", `${mountPoint} is too long a path for the fuse-native channel.`);
    }
    const operations = new PathOperations(filesystem, this.#logger);
    const fuse = await prepareFuseNative(mountPoint, operations, libfuseOptions(options));
    const before = await fuseDescriptors();
    filesystem.attach(NO_KERNEL);
    try {
      await fuse.mount();
    } catch (error) {
      throw mountFailure(mountPoint, error);
    }
    const descriptor = (await fuseDescriptors()).find((fd) => !before.includes(fd)) ?? "";
    const device = await deviceAt(mountPoint);
    this.#mounted = { mountPoint, device, fuse, operations, descriptor };
    this.#watch = setInterval(() => void this.#look(), WATCH_INTERVAL_MS);
    return SETTINGS;
  }

  async unmount(options: { lazy?: boolean } = {}): Promise<void> {
    if (!this.#mounted || this.#hasEnded) return;
    await unmountPath(this.#mounted.mountPoint, { lazy: options.lazy ?? false, abort: false });
    await this.ended;
  }

  async close(): Promise<void> {
    if (!this.#mounted) {
      await this.#finish({ reason: "unmounted" });
      return;
    }
    if (this.#hasEnded) return;
    const { mountPoint, device } = this.#mounted;
    if ((await deviceAt(mountPoint)) === device) await unmountPath(mountPoint, { lazy: true, abort: true });
    const grace = setTimeout(() => void this.#finish({ reason: "unmounted" }), CLOSE_GRACE_MS);
    await this.ended;
    clearTimeout(grace);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends the channel when libfuse has closed its descriptor. */
  async #look(): Promise<void> {
    const { descriptor, mountPoint, device } = this.#mounted!;
    if ((await descriptorTarget(descriptor)) === DEVICE) return;
    if (device === undefined || (await deviceAt(mountPoint)) !== device) {
      return this.#finish({ reason: "unmounted" });
    }
    // Aborted from outside: a dead mount is left, which answers ENOTCONN to everybody.
    await unmountPath(mountPoint, { lazy: true, abort: false }).catch((error: unknown) => {
      this.#logger.warn({ error, mountPoint }, "the dead mount could not be detached");
    });
    const error = new HawserError("mount_failed", `The kernel connection of ${mountPoint} was aborted.`);
    return this.#finish({ reason: "failed", error });
  }

  async #finish(end: ChannelEnd): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearInterval(this.#watch);
    this.#mounted?.fuse.detach();
    await this.#mounted?.operations.close().catch((error: unknown) => {
      this.#logger.error({ error }, "releasing what was open failed");
    });
    this.#end(end);
  }
}

/** libfuse sets user_id itself, so that only the mounting user or everybody can be let in. */
function refuseOtherOwner({ ownerUid }: MountOptions): void {
  if (ownerUid === undefined || ownerUid === process.getuid!()) return;
  throw new HawserError(
    "not_supported",
    `The fuse-native channel cannot mount for user ${ownerUid} alone; use --channel native or --allow-other.`,
  );
}

async function checkDevice(): Promise<void> {
  try {
    await access(DEVICE, constants.R_OK | constants.W_OK);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new HawserError(
      missing ? "fuse_missing" : "fuse_denied",
      missing
        ? `${DEVICE} is not there: run modprobe fuse, or give the container the device (docker run --device ${DEVICE}).`
        : `This user may not open ${DEVICE}: its mode should be 0666.`,
      { cause: error },
    );
  }
}

/** What libfuse is told after `-o`. The source comes last and bounded: what is cut off is only its name. */
function libfuseOptions({ readOnly, allowOther, nonempty, source }: MountOptions): string {
  const options = ["default_permissions", "use_ino", "big_writes", "subtype=hawser"];
  if (readOnly) options.push("ro");
  if (allowOther) options.push("allow_other");
  if (nonempty) options.push("nonempty");
  const name = Buffer.from(source).subarray(0, MAX_SOURCE_BYTES).toString();
  options.push(`fsname=${name.replaceAll(/[\\,]/g, "\\$&")}`);
  return options.join(",");
}

function mountFailure(mountPoint: string, error: unknown): HawserError {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes("in use")) {
    return new HawserError("mount_point_busy", `Something is mounted at ${mountPoint} already.`, {
      cause: error,
    });
  }
  if (process.getuid!() === 0) {
    return new HawserError("mount_failed", `libfuse refused to mount ${mountPoint}; it said why above.`, {
      cause: error,
    });
  }
  return new HawserError(
    "fuse_denied",
    `libfuse refused to mount ${mountPoint}. A user other than root needs fusermount (Debian, Ubuntu: apt install fuse3; ` +
      "Fedora, Amazon Linux: dnf install fuse) and, to let others in, user_allow_other in /etc/fuse.conf.",
    { cause: error },
  );
}

/** Which device is mounted at a path, on top. Reads the mount table only, never the mount. */
async function deviceAt(mountPoint: string): Promise<string | undefined> {
  const entry = await mountedAt(mountPoint);
  return entry && `${entry.major}:${entry.minor}`;
}

/** The names of this process's descriptors of /dev/fuse. */
async function fuseDescriptors(): Promise<string[]> {
  const names = await readdir("/proc/self/fd");
  const targets = await Promise.all(names.map(descriptorTarget));
  return names.filter((_name, index) => targets[index] === DEVICE);
}

/** What a descriptor of this process is open on; empty when it is closed. */
function descriptorTarget(descriptor: string): Promise<string> {
  return readlink(`/proc/self/fd/${descriptor}`).catch(() => "");
}
