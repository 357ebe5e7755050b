/**
 * Channel: what carries the kernel's requests to a Filesystem and its answers back.
 *
 * Two exist: `native` (our addon speaks the FUSE wire protocol) and `fuse-native` (libfuse 2 by the npm package, the
 * portable fallback). A channel belongs to one mount; it is made unmounted, mounts once, and ends once.
 */
import type { Filesystem } from "../vfs/filesystem.ts";

export type ChannelKind = "native" | "fuse-native";

export interface MountOptions {
  /** Absolute path of an existing folder. */
  mountPoint: string;
  /** First column of /proc/mounts, e.g. `s3://bucket/prefix`. */
  source: string;
  readOnly: boolean;
  /** Let every user in; otherwise only `ownerUid`, or the mounting user. */
  allowOther: boolean;
  /** Let just this user in without allow_other. Root only. */
  ownerUid?: number | undefined;
  ownerGid?: number | undefined;
  /** Mount over a folder that has content. */
  nonempty: boolean;
  /** Whether the kernel may be asked for passthrough. */
  passthrough: boolean;
  /** Threads that write large replies to the kernel: 1 or 2. */
  writerThreads?: number | undefined;
}

/** What was settled with the kernel at INIT. */
export interface ChannelSettings {
  kind: ChannelKind;
  protocolMajor: number;
  protocolMinor: number;
  maxWriteBytes: number;
  maxReadaheadBytes: number;
  readdirPlus: boolean;
  passthrough: boolean;
  notify: boolean;
  resend: boolean;
}

export type ChannelEnd =
  /** Unmounted by us or by somebody else. */
  | { reason: "unmounted" }
  /** The connection broke: aborted through fusectl, or a protocol error. */
  | { reason: "failed"; error: Error };

export interface Channel extends AsyncDisposable {
  readonly kind: ChannelKind;
  /** Mounts and starts serving. Resolves when the kernel's INIT has been answered. @throws fuse_missing, fuse_denied, mount_failed, mount_point_* */
  mount(filesystem: Filesystem, options: MountOptions): Promise<ChannelSettings>;
  /** Settles when the mount is gone, for whatever reason. Never rejects. */
  readonly ended: Promise<ChannelEnd>;
  /**
   * Unmounts. `lazy` detaches at once even while files are open. Resolves when `ended` has.
   *
   * @throws `mount_point_busy` when files are open and not `lazy`
   */
  unmount(options?: { lazy?: boolean }): Promise<void>;
  /** Frees everything, unmounting lazily if need be; joins every thread. May be called twice. */
  close(): Promise<void>;
}
