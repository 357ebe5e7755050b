/**
 * A mount's life, from its settings to its end: `serve` runs in the process of the mount and nowhere else.
 *
 * Opened in this order: log, store (asked once, so that a missing bucket fails here and not in somebody's open),
 * content and filesystem, kernel, control socket; closed in the reverse. It ends when the kernel connection does: by
 * SIGTERM or SIGINT, by the control socket, by umount(8) from outside, or because its parent went away. Nothing in
 * here touches the mounted path: a process that serves a mount and waits for it waits forever.
 */
import { HawserError, toHawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { volumeUrl } from "../config/volume.ts";
import type { Channel, ChannelSettings } from "../fuse/channel.ts";
import type { Logger, OwnedLogger } from "../observe/logger.ts";
import { createLogger } from "../observe/logger.ts";
import { Metrics } from "../observe/metrics.ts";
import type { MetricValues } from "../observe/metrics.ts";
import { ControlServer } from "./control-server.ts";
import type { MountStatus } from "./control-protocol.ts";
import { within } from "./deadline.ts";
import { mountAt } from "./mountinfo.ts";
import type { MountEntry } from "./mountinfo.ts";
import type { OpenVolume } from "./open-volume.ts";
import { warmHandlers } from "./warm-control.ts";
import { toldStatus, withProgress, writeHandlers } from "./write-control.ts";
import type { MountSettings } from "./settings.ts";
import type { StateFolder } from "./state-folder.ts";
import type { Supervisor } from "./supervisor.ts";
import { tuneCompilerForWriting, tuneProcess } from "./tuning.ts";
import { DEFAULT_POLITE_MS, breakOff, stopChannel, unmountEverywhere } from "./unmount.ts";
import { VERSION } from "./version.ts";

/** What a mount serves. */
export type ServedVolume = Pick<
  OpenVolume,
  "filesystem" | "writing" | "warming" | "waits" | "report" | "close"
> & {
  readonly store: { readonly endpoint: { readonly url: string; readonly region: string } };
};

/** The parts of a mount that are made elsewhere. */
export interface Parts {
  openVolume(
    settings: MountSettings,
    context: { supervisor: Supervisor; log: Logger; signal: AbortSignal },
  ): Promise<ServedVolume>;
  createChannel(settings: MountSettings, log: Logger): Promise<Channel>;
}

/** How long closing files, caches and connections may take once the kernel is gone. */
const CLOSE_MS: Milliseconds = 10_000;

/**
 * Serves one mount until it ends.
 *
 * @throws HawserError when the mount could not be made, or ended by a failure
 */
export async function serve(folder: StateFolder, supervisor: Supervisor, parts: Parts): Promise<void> {
  const settings = folder.settings();
  folder.adopt();
  await using log = createLogger({
    level: settings.logLevel,
    destination: settings.logFile ?? folder.logPath,
    fields: { mount: settings.mountPoint },
  });
  const mount = new ServedMount(settings, folder, supervisor, log);
  try {
    await mount.run(parts);
  } catch (error) {
    const failure = toHawserError(error);
    log.error({ err: failure }, "the mount failed");
    throw failure;
  } finally {
    folder.release();
    log.info("ended");
  }
}

class ServedMount {
  private readonly settings: MountSettings;
  private readonly folder: StateFolder;
  private readonly supervisor: Supervisor;
  private readonly log: OwnedLogger;
  private readonly startedMs = Date.now();
  private readonly metrics: Metrics;
  private readonly abort = new AbortController();
  private state: MountStatus["state"] = "mounting";
  private volume: ServedVolume | undefined;
  private channel: Channel | undefined;
  private channelSettings: ChannelSettings | undefined;
  private entry: MountEntry | undefined;
  private stopping: Promise<void> | undefined;
  private bug: Error | undefined;
  /** Fires when uploads are to be left to the next mount. */
  private readonly leaving = new AbortController();
  private readonly drained = deferred();

  constructor(settings: MountSettings, folder: StateFolder, supervisor: Supervisor, log: OwnedLogger) {
    this.settings = settings;
    this.folder = folder;
    this.supervisor = supervisor;
    this.log = log;
    this.metrics = new Metrics({ volume: settings.name, mount: settings.mountPoint });
    this.metrics.add(() => this.processValues());
  }

  async run(parts: Parts): Promise<void> {
    const { settings, log } = this;
    tuneProcess(`hawser ${settings.mountPoint}`, log);
    if (settings.volume.mode === "writable") tuneCompilerForWriting();
    log.info({ source: volumeUrl(settings.volume), version: VERSION }, "mounting");
    const onSignal = (signal: NodeJS.Signals): void => this.onSignal(signal);
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
    // A terminal that closes must not take a mount with it by accident, but a foreground mount ends with its terminal.
    process.on("SIGHUP", onSignal);
    // A promise that nobody waited for failed: a bug, and none that running jobs should lose their data for.
    const onRejection = (error: unknown): void => log.error({ err: error }, "a promise was left to fail");
    // A callback threw: what it left half done is unknown, so the mount ends while it can still end well.
    const onException = (error: Error): void => {
      log.error({ err: error }, "a bug ends the mount");
      this.bug ??= error;
      void this.stop();
    };
    process.on("unhandledRejection", onRejection).on("uncaughtException", onException);
    this.supervisor.onLost(() => {
      log.warn("the program that owns this mount is gone");
      void this.stop();
    });
    try {
      await this.open(parts);
      await using control = new ControlServer(this.controlHandlers(), log);
      await control.listen(this.folder.socketPath);
      this.state = "serving";
      log.info({ channel: this.channelSettings }, "serving");
      if (this.settings.volume.warm) await this.volume!.warming.start([""]);
      this.supervisor.ready(this.status());
      const end = await this.channel!.ended;
      await this.drain();
      if (end.reason === "failed" && !this.stopping) throw end.error;
      if (this.bug) throw this.bug;
    } finally {
      await this.close();
      process.off("SIGTERM", onSignal).off("SIGINT", onSignal).off("SIGHUP", onSignal);
      process.off("unhandledRejection", onRejection).off("uncaughtException", onException);
    }
  }

  /** Brings what is pending to the bucket, however long that takes, unless somebody says not to. */
  private async drain(): Promise<void> {
    const { writing } = this.volume!;
    this.state = "unmounting";
    try {
      if (writing && !this.leaving.signal.aborted) await writing.drain(this.leaving.signal);
      this.drained.resolve();
    } catch (error) {
      this.log.error({ err: error }, "what is not in the bucket waits for the next mount");
      this.drained.reject(toHawserError(error));
    }
  }

  private async open(parts: Parts): Promise<void> {
    const { settings, log, supervisor } = this;
    const { volume, mountPoint } = settings;
    this.volume = await parts.openVolume(settings, { supervisor, log, signal: this.abort.signal });
    this.volume.report(this.metrics);
    this.abort.signal.throwIfAborted();
    this.channel = await parts.createChannel(settings, log);
    this.channelSettings = await this.channel.mount(this.volume.filesystem, {
      mountPoint,
      source: volumeUrl(volume),
      readOnly: volume.mode === "read-only",
      allowOther: volume.allowOther ?? false,
      nonempty: volume.nonempty ?? false,
      passthrough: volume.passthrough ?? true,
    });
    this.entry = mountAt(mountPoint);
    this.abort.signal.throwIfAborted();
  }

  private async close(): Promise<void> {
    for (const part of [this.channel, this.volume]) {
      if (!part) continue;
      const closed = await within(
        part.close().then(
          () => true,
          (error: unknown) => {
            this.log.error({ err: error }, "closing failed");
            return true;
          },
        ),
        CLOSE_MS,
      );
      if (closed === undefined) this.log.error("closing takes too long: leaving it");
    }
  }

  private onSignal(signal: NodeJS.Signals): void {
    this.log.info({ signal }, "asked to stop");
    // A second signal is from somebody who will not wait.
    if (this.stopping) void this.breakOff();
    else void this.stop();
  }

  private stop(): Promise<void> {
    this.stopping ??= this.endMount();
    return this.stopping;
  }

  /** Ends the mount whatever is open, also while a stop is under way. */
  private breakOff(): Promise<void> {
    this.state = "unmounting";
    this.leaving.abort(new HawserError("interrupted", "Uploads were left to the next mount."));
    this.stopping ??= Promise.resolve();
    return this.channel ? breakOff(this.channel, { log: this.log, entry: this.entry }) : this.stopping;
  }

  private async endMount(): Promise<void> {
    const politeMs = this.settings.volume.unmountTimeout ?? DEFAULT_POLITE_MS;
    this.state = "unmounting";
    this.abort.abort(new HawserError("interrupted", "The mount was stopped before it was ready."));
    if (!this.channel || !this.channelSettings) return;
    try {
      await stopChannel(this.channel, { politeMs, ...this.unmounting() });
    } catch (error) {
      this.log.error({ err: error }, "unmounting failed");
      await this.channel.close();
    }
  }

  private controlHandlers() {
    return {
      status: () => this.status(),
      metrics: async () => ({ text: await this.metrics.text() }),
      unmount: (params: { lazy?: boolean; force?: boolean }, emit: (event: unknown) => void) =>
        this.unmountByControl(params, emit),
      ...warmHandlers(this.volume!.warming),
      ...writeHandlers(this.volume!.filesystem, this.volume!.writing),
    };
  }

  private async unmountByControl(
    { lazy, force }: { lazy?: boolean; force?: boolean },
    emit: (event: unknown) => void,
  ): Promise<Record<string, never>> {
    if (force) {
      await this.breakOff();
      return {};
    }
    if (lazy) {
      // Files may stay open for hours; the caller wants the path, not the end.
      void this.channel!.unmount({ lazy: true }).catch((error: unknown) =>
        this.log.error({ err: error }, "detaching failed"),
      );
      return {};
    }
    await unmountEverywhere(this.channel!, this.unmounting());
    await withProgress(this.volume?.writing, emit, this.drained.promise);
    return {};
  }

  private unmounting() {
    const { log, entry, volume } = this;
    const hasOpenFiles = (): boolean => {
      const { openFiles, openFolders } = volume!.filesystem.counts();
      return openFiles + openFolders > 0;
    };
    return { log, entry, hasOpenFiles };
  }

  private status(): MountStatus {
    const { settings } = this;
    return {
      name: settings.name,
      source: volumeUrl(settings.volume),
      mountPoint: settings.mountPoint,
      mode: settings.volume.mode,
      state: this.state,
      pid: process.pid,
      startedMs: this.startedMs,
      version: VERSION,
      endpoint: this.volume?.store.endpoint.url,
      region: this.volume?.store.endpoint.region,
      channel: this.channelSettings,
      memory: { residentBytes: process.memoryUsage.rss() },
      counters: this.metrics.values(),
      waits: this.volume?.waits(),
      warm: this.volume?.warming.list() ?? [],
      writing: this.volume?.writing && toldStatus(this.volume.writing),
    };
  }

  private processValues(): MetricValues {
    const { user, system } = process.cpuUsage();
    return {
      resident_bytes: process.memoryUsage.rss(),
      cpu_seconds_total: (user + system) / 1e6,
      uptime_seconds: (Date.now() - this.startedMs) / 1000,
    };
  }
}

/** A promise that is settled from outside; a rejection that nobody waits for is no error of its own. */
function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
