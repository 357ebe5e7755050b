/**
 * NativeChannel: the Channel that speaks the FUSE wire protocol through our addon.
 *
 * Its life: made; mounted (or, for a daemon that takes over, resumed from a descriptor and the settings written down);
 * ended. It ends once, by whoever unmounts or aborts. From then on every request that still waits is answered with an
 * error, memory is released, and the threads are joined; the filesystem is closed by whoever made it.
 */
import { writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { HawserError } from "../common/errors.ts";
import { native, type NativeConnection } from "../common/native.ts";
import type { Logger } from "../observe/logger.ts";
import type { Filesystem } from "../vfs/filesystem.ts";
import { Adapter } from "./adapter.ts";
import type { Channel, ChannelEnd, ChannelSettings, MountOptions } from "./channel.ts";
import { negotiate, type InitWishes } from "./init.ts";
import { KernelNotifier } from "./kernel-notifier.ts";
import { checkMountPoint } from "./mount-point.ts";
import { mountedAt, type MountTableEntry } from "./mount-table.ts";
import { abortMount, mountFolder, unmountFolder } from "./mounting.ts";
import { InitFlag, PROTOCOL_MAJOR } from "./protocol.ts";
import { Replies } from "./replies.ts";
import { RequestMemory, type Request } from "./request.ts";

/**
 * INIT offers 128 KiB only, and a read longer than the readahead arrives in pieces that look like a sequential reader.
 * No more than one request's worth: reading further ahead is prefetch's part.
 */
const READ_AHEAD_KB = 1024;
const DEFAULT_WRITER_THREADS = 2;

export interface NativeChannelOptions {
  logger: Logger;
  /** See InitWishes. */
  maxStackDepth?: 1 | 2 | undefined;
}

/** What a daemon needs to take over a connection that another process has kept open. */
export interface HeldConnection {
  /** A descriptor of the connection; owned by the channel from here on. */
  fd: number;
  mountPoint: string;
  settings: ChannelSettings;
  writerThreads?: number | undefined;
}

export class NativeChannel implements Channel {
  readonly kind = "native";
  readonly ended: Promise<ChannelEnd>;
  readonly #logger: Logger;
  readonly #maxStackDepth: 1 | 2;
  #resolveEnded!: (end: ChannelEnd) => void;
  #session: Session | undefined;
  #mountPoint = "";
  #device: MountTableEntry | undefined;
  #isClosing = false;
  #isEnded = false;

  constructor(options: NativeChannelOptions) {
    this.#logger = options.logger;
    this.#maxStackDepth = options.maxStackDepth ?? 1;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /** The connection's descriptor, for a process that is to hold it too; -1 when there is none. */
  get fd(): number {
    return this.#session?.connection.fd ?? -1;
  }

  async mount(filesystem: Filesystem, options: MountOptions): Promise<ChannelSettings> {
    this.#refuseSecondUse();
    this.#mountPoint = await checkMountPoint(options.mountPoint, options.nonempty);
    const fd = await mountFolder(this.#mountPoint, options);
    // The kernel would grant it to anybody and then refuse every backing file to all but root.
    const passthrough = options.passthrough && process.geteuid!() === 0;
    const wishes = { passthrough, maxStackDepth: this.#maxStackDepth };
    this.#session = this.#start(fd, filesystem, options.writerThreads, { wishes });
    try {
      const settings = await this.#session.initialized;
      this.#device = await mountedAt(this.#mountPoint);
      await this.#raiseReadahead();
      this.#session.admit();
      return settings;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /**
   * Serves a connection whose mount exists already. Requests that were under way are asked for again, where the kernel
   * can: the filesystem must know the node ids and handles in them.
   */
  async resume(filesystem: Filesystem, held: HeldConnection): Promise<void> {
    this.#refuseSecondUse();
    this.#mountPoint = held.mountPoint;
    this.#session = this.#start(held.fd, filesystem, held.writerThreads, { settings: held.settings });
    this.#device = await mountedAt(this.#mountPoint);
    if (held.settings.resend) await this.#session.kernel!.resend();
  }

  async unmount(options: { lazy?: boolean } = {}): Promise<void> {
    if (!this.#session || this.#isEnded) return;
    await unmountFolder(this.#mountPoint, options.lazy ?? false);
    await this.ended;
  }

  /**
   * Stops serving and leaves the mount, and the requests under way, to whoever holds the connection too. No
   * notification may be under way.
   */
  handOver(): void {
    // The connection first: what waits here is asked for again there, and must not be answered by us.
    this.#session?.connection.stop();
    this.#end({ reason: "unmounted" });
  }

  async close(): Promise<void> {
    if (!this.#session || this.#isEnded) return;
    this.#isClosing = true;
    try {
      const device = this.#device ?? (await mountedAt(this.#mountPoint));
      if (device) await abortMount(this.#mountPoint, device.minor);
    } catch (error) {
      this.#logger.warn({ error, mountPoint: this.#mountPoint }, "the mount could not be detached");
    }
    this.#end({ reason: "unmounted" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #refuseSecondUse(): void {
    if (this.#session) throw new HawserError("closed", "A channel mounts once; make another one.");
  }

  #start(fd: number, filesystem: Filesystem, writerThreads: number | undefined, begin: Beginning): Session {
    return new Session({
      fd,
      filesystem,
      begin,
      logger: this.#logger,
      writerThreads: writerThreads ?? DEFAULT_WRITER_THREADS,
      onEnd: (end) => void this.#connectionEnded(end),
    });
  }

  /**
   * The kernel says that the connection is gone, not always why: umount -f aborts it, is then refused while files are
   * open, and leaves a dead mount that answers ENOTCONN to everybody.
   */
  async #connectionEnded(end: ChannelEnd): Promise<void> {
    const left = this.#device && (await mountedAt(this.#mountPoint));
    // An abort of our own is no failure.
    if (this.#isClosing) end = { reason: "unmounted" };
    if (!left || left.minor !== this.#device?.minor) {
      this.#end(end);
      return;
    }
    try {
      await unmountFolder(this.#mountPoint, true);
    } catch (error) {
      this.#logger.warn({ error, mountPoint: this.#mountPoint }, "the dead mount could not be detached");
    }
    const error = new HawserError("io_error", "The kernel connection was aborted.");
    this.#end(end.reason === "failed" ? end : { reason: "failed", error });
  }

  #end(end: ChannelEnd): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#session?.stop();
    this.#resolveEnded(end);
  }

  /** By the device's number: the mount itself must not be touched. Only root can; for others 128 KiB stays. */
  async #raiseReadahead(): Promise<void> {
    if (!this.#device) return;
    const { major, minor } = this.#device;
    try {
      await writeFile(`/sys/class/bdi/${major}:${minor}/read_ahead_kb`, String(READ_AHEAD_KB));
    } catch (error) {
      this.#logger.debug({ error }, "the kernel's readahead stays at its default");
    }
  }
}

/** A new connection begins with INIT; one that is taken over has its settings. */
type Beginning = { wishes: InitWishes } | { settings: ChannelSettings };

interface SessionOptions {
  fd: number;
  filesystem: Filesystem;
  begin: Beginning;
  logger: Logger;
  writerThreads: number;
  onEnd: (end: ChannelEnd) => void;
}

/** One connection being served: owns the addon's Connection and what hangs on it. */
class Session {
  readonly connection: NativeConnection;
  /** Resolves when INIT was answered; rejects when the connection ends before. */
  readonly initialized: Promise<ChannelSettings>;
  kernel: KernelNotifier | undefined;
  readonly #options: SessionOptions;
  readonly #replies: Replies;
  readonly #adapter: Adapter;
  readonly #slotBytes: number;
  readonly #requestOffset: number;
  readonly #keep: number;
  /** Slots of requests that came before `admit`, in order. */
  readonly #held: number[] = [];
  #admitted: boolean;
  #resolveInit!: (settings: ChannelSettings) => void;
  #rejectInit!: (error: Error) => void;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { logger, filesystem } = options;
    const { Connection } = native();
    this.#admitted = "settings" in options.begin;
    this.#slotBytes = Connection.SLOT_BYTES;
    this.#requestOffset = Connection.REQUEST_OFFSET;
    this.#keep = Connection.KEEP;
    this.initialized = new Promise((resolve, reject) => {
      this.#resolveInit = resolve;
      this.#rejectInit = reject;
    });
    // Whoever resumes does not wait for it.
    this.initialized.catch(() => {});
    this.connection = new Connection(options.fd, options.writerThreads, this.#onEvents);
    this.#replies = new Replies(this.connection, logger);
    this.#adapter = new Adapter({
      filesystem,
      memory: new RequestMemory(this.connection.arena),
      replies: this.#replies,
      logger,
      giveBack: (slot) => void this.connection.giveBack(slot),
      onInit: (request) => this.#init(request),
    });
    if ("settings" in options.begin) this.#attach(options.begin.settings);
  }

  /**
   * Begins to serve. An open file keeps the readahead that the mount had when it was opened: so nobody gets in between
   * the greeting and the mount's last settings.
   */
  admit(): void {
    this.#admitted = true;
    for (const slot of this.#held.splice(0)) if (!this.#dispatch(slot)) this.connection.giveBack(slot);
  }

  /** May be called twice. */
  stop(): void {
    this.#adapter.abandonAll();
    this.connection.stop();
    this.#replies.releaseAll();
    this.kernel?.settleAll();
    this.#rejectInit(new HawserError("mount_failed", "The mount ended before the kernel had greeted it."));
  }

  readonly #onEvents = (requests: number, written: number, notified: number, end: number): void => {
    if (written > 0) this.#replies.settleWritten(written);
    if (notified > 0) this.kernel?.settle(notified);
    const { batch } = this.connection;
    for (let i = 0; i < requests; i++) {
      const slot = batch[i]!;
      const early = !this.#admitted && this.kernel !== undefined;
      if (early) this.#held.push(slot);
      if (early || this.#dispatch(slot)) batch[i] = this.#keep;
    }
    if (end !== 0) this.#options.onEnd(endOf(end));
  };

  /** @returns true when it keeps the slot until the request is done */
  #dispatch(slot: number): boolean {
    try {
      return this.#adapter.dispatch(slot * this.#slotBytes + this.#requestOffset, slot);
    } catch (error) {
      this.#options.logger.error({ error }, "a request broke the adapter");
      return false;
    }
  }

  #attach(settings: ChannelSettings): void {
    this.kernel = new KernelNotifier(this.connection, settings, this.#options.logger);
    this.#options.filesystem.attach(this.kernel);
    this.#resolveInit(settings);
  }

  #init(request: Request): void {
    const { begin } = this.#options;
    const major = request.u32(0);
    if ("settings" in begin || major < PROTOCOL_MAJOR) {
      this.#options.logger.error({ major }, "an INIT that cannot be answered");
      this.#replies.error(request, constants.errno.EPROTO);
      return;
    }
    const flags = request.u32(12);
    const hasFlags2 = (flags & InitFlag.INIT_EXT) !== 0 && request.argumentBytes >= 20;
    const negotiated = negotiate(
      {
        major,
        minor: request.u32(4),
        maxReadaheadBytes: request.u32(8),
        flags,
        flags2: hasFlags2 ? request.u32(16) : 0,
      },
      begin.wishes,
    );
    // A kernel of a later major version asks again once it has seen ours.
    if (major === PROTOCOL_MAJOR) this.#attach(negotiated.settings);
    this.#replies.init(request, negotiated);
  }
}

function endOf(errno: number): ChannelEnd {
  if (errno === constants.errno.ENODEV) return { reason: "unmounted" };
  const why = errno === constants.errno.ECONNABORTED ? "was aborted" : `failed with errno ${errno}`;
  return { reason: "failed", error: new HawserError("io_error", `The kernel connection ${why}.`) };
}
