/**
 * The mounts of a pool on this node.
 *
 * Every volume is a process of its own that outlives the worker's: a systemd unit where systemd runs, else a daemon as
 * `hawser mount` starts it. It belongs to root, lets everybody in, and its files belong to the job's user.
 *
 * A writable volume is marked on disk before it is mounted, and the mark goes when a drain has brought everything home:
 * what a machine that was restarted, or a daemon that was killed, still has is found by it (write-marks.ts).
 */
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { HawserError, toHawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { NamedVolume } from "../../config/file.ts";
import { callDaemon } from "../../daemon/control-client.ts";
import { endMount } from "../../daemon/end-mount.ts";
import { launch } from "../../daemon/launch.ts";
import type { MountRequest } from "../../daemon/mount-request.ts";
import { findMount, reportOn } from "../../daemon/mounts.ts";
import type { KnownMount } from "../../daemon/mounts.ts";
import type { HandedCredentials } from "../../daemon/supervisor.ts";
import type { PendingProgress } from "../../daemon/write-control.ts";
import type { DrainProgress, Unflushed, WorkerStatus } from "./protocol.ts";
import { PROGRAM } from "./program.ts";
import { DEFAULT_CACHE, DEFAULT_STAGING } from "./spec.ts";
import type { WorkerFolder, WorkerSpec, WorkerVolume } from "./spec.ts";
import { neverClosed } from "./never-closed.ts";
import { unitName, unitText } from "./unit.ts";
import { WriteMarks } from "./write-marks.ts";

const run = promisify(execFile);

const UNITS = "/run/systemd/system";
/** How long systemctl may take to start a mount; the mount's own bounds are shorter. */
const SYSTEMCTL_MS: Milliseconds = 100_000;
const STATUS_MS: Milliseconds = 3000;

/** What is mounted for a volume of a pool. */
export function requestFor(
  folder: WorkerFolder,
  spec: WorkerSpec,
  { config, handed }: WorkerVolume,
): MountRequest {
  const { credentials, cache, staging, ...rest } = config;
  const volume: NamedVolume = {
    ...rest,
    cache: { ...cache, dir: cache.dir ?? DEFAULT_CACHE },
    staging: { ...staging, dir: staging?.dir ?? DEFAULT_STAGING },
    uid: config.uid ?? spec.user.uid,
    gid: config.gid ?? spec.user.gid,
    allowOther: config.allowOther ?? true,
    ...(credentials === undefined || credentials === "keys" ? {} : { credentials }),
  };
  return {
    volume,
    environment: process.env,
    ...(handed ? { credentialsFile: folder.credentialsPath(spec, config.name) } : {}),
  };
}

export class WorkerMounts {
  private readonly folder: WorkerFolder;
  private readonly spec: WorkerSpec;
  private readonly marks: WriteMarks;

  constructor(folder: WorkerFolder, spec: WorkerSpec) {
    this.folder = folder;
    this.spec = spec;
    this.marks = new WriteMarks(folder.path);
  }

  /** Credentials to memory, readable by root alone; a mount reads them when its own come to their end. */
  hand(volume: string, credentials: HandedCredentials): void {
    const memory = this.folder.memoryPath(this.spec);
    mkdirSync(memory, { recursive: true, mode: 0o700 });
    chmodSync(memory, 0o700);
    writeFileSync(this.folder.credentialsPath(this.spec, volume), JSON.stringify(credentials), {
      mode: 0o600,
    });
  }

  /** @throws HawserError why one of them cannot be mounted */
  async mountAll(): Promise<{ mounted: string[]; notes: string[] }> {
    const results = await Promise.allSettled(this.spec.volumes.map((volume) => this.mount(volume)));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw toHawserError(failed.reason);
    return {
      mounted: this.spec.volumes.map(({ config }) => config.mount),
      notes: results.flatMap((result) => (result.status === "fulfilled" ? result.value : [])),
    };
  }

  private async mount(volume: WorkerVolume): Promise<string[]> {
    const { config } = volume;
    const present = findMount(config.mount);
    if (present && (await reportOn(present)).state === "serving") {
      if (
        present.settings?.volume.bucket === config.bucket &&
        present.settings.volume.prefix === config.prefix
      )
        return [];
      throw new HawserError(
        "mount_point_busy",
        `${config.mount} is another volume there (${present.source}); unmount it, or mount elsewhere.`,
      );
    }
    if (!existsSync(config.mount)) this.makeMountPoint(config.mount);
    const request = requestFor(this.folder, this.spec, volume);
    if (config.mode === "writable") this.marks.set(config.mount);
    if (this.spec.systemd) return await this.mountByUnit(config.name);
    const mount = await launch(request);
    await mount.detach();
    return mount.notes;
  }

  private makeMountPoint(path: string): void {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(this.folder.path, `made-${Buffer.from(path).toString("base64url")}`), "");
  }

  private async mountByUnit(volume: string): Promise<string[]> {
    const unit = unitName(this.spec.pool, volume);
    mkdirSync(UNITS, { recursive: true });
    const text = unitText(process.execPath, PROGRAM, this.spec.pool, volume);
    writeFileSync(join(UNITS, unit), text, { mode: 0o644 });
    await run("systemctl", ["daemon-reload"], { timeout: SYSTEMCTL_MS });
    try {
      await run("systemctl", ["start", unit], { timeout: SYSTEMCTL_MS });
    } catch (error) {
      const { stdout } = await run("journalctl", ["-u", unit, "-n", "5", "-o", "cat", "--no-pager"]).catch(
        () => ({ stdout: "" }),
      );
      throw new HawserError(
        "mount_failed",
        `The unit ${unit} did not start: ${stdout.trim() || (error as Error).message}`,
        {
          cause: error,
        },
      );
    }
    return [];
  }

  /** The mounts of this pool that exist, in order of the volumes. */
  known(): { name: string; mount: KnownMount }[] {
    return this.spec.volumes.flatMap(({ config }) => {
      const mount = findMount(config.mount);
      return mount?.settings?.volume.bucket === config.bucket ? [{ name: config.name, mount }] : [];
    });
  }

  /** Whether any of these is there, or has left something on this machine. */
  get holdsAny(): boolean {
    return this.known().length > 0 || this.spec.volumes.some(({ config }) => this.marks.has(config.mount));
  }

  async report(): Promise<WorkerStatus["mounts"]> {
    const known = new Map(this.known().map(({ name, mount }) => [name, mount]));
    return await Promise.all(
      this.spec.volumes.map(async ({ config: { name, mount: path } }) => {
        const mount = known.get(name);
        if (!mount) return { volume: name, mount: path, state: "not mounted" };
        const report = await reportOn(mount);
        return {
          volume: name,
          mount: path,
          state: report.state,
          ...("status" in report ? { status: report.status } : {}),
        };
      }),
    );
  }

  /**
   * Brings everything that was written to the bucket, and unmounts what has nothing left. A writable volume that nobody
   * serves, because the machine was restarted or its process killed, is mounted again for it.
   *
   * @returns what remains
   */
  async drain(onProgress: (progress: DrainProgress) => void): Promise<Unflushed[]> {
    const again = await Promise.all(this.spec.volumes.map((volume) => this.mountAgain(volume)));
    const remaining = await Promise.all(
      this.known().map(async ({ name, mount }): Promise<Unflushed[]> => {
        if (again.some((kept) => kept?.volume === name)) return [];
        try {
          await this.flush(name, mount, onProgress);
          await this.refuseNeverClosed(mount);
          await this.unmount(mount, false);
          this.marks.clear(mount.settings!.volume.mount);
          return [];
        } catch (error) {
          const { message } = toHawserError(error);
          const pendingFiles = await this.pendingFiles(mount);
          // A read-only volume has nothing to lose, and one that holds on is let go.
          if (mount.settings?.volume.mode !== "writable") {
            await this.unmount(mount, true).catch(() => undefined);
            return [];
          }
          return [{ volume: name, mount: mount.mountPoint, reason: message, pendingFiles }];
        }
      }),
    );
    return [...again.flatMap((kept) => kept ?? []), ...remaining.flat()];
  }

  /**
   * After a restart of the machine: a volume that may hold data is mounted again, which brings it home, where the machine
   * has its credentials by itself.
   *
   * @returns those that could not be
   */
  async restore(): Promise<Unflushed[]> {
    const own = this.spec.volumes.filter(({ handed }) => !handed);
    return (await Promise.all(own.map((volume) => this.mountAgain(volume)))).flatMap((kept) => kept ?? []);
  }

  /** @returns why a volume that may hold data cannot be asked for it */
  private async mountAgain(volume: WorkerVolume): Promise<Unflushed | undefined> {
    const { name, mount: path, mode } = volume.config;
    if (mode !== "writable" || !this.marks.has(path)) return undefined;
    if (this.known().some((known) => known.name === name && known.mount.pid !== undefined)) return undefined;
    try {
      await this.mount(volume);
      return undefined;
    } catch (error) {
      const reason = `it was not mounted any more and cannot be mounted again (${toHawserError(error).message.replace(/\.$/, "")}); what had not reached the bucket is still on this machine`;
      return { volume: name, mount: path, reason, pendingFiles: -1 };
    }
  }

  /** What its writers had not closed when the machine went down reaches no bucket by itself, and would end with the machine. */
  private async refuseNeverClosed({ folder, settings }: KnownMount): Promise<void> {
    if (this.spec.atEnd !== "poweroff" || settings?.volume.mode !== "writable" || !folder) return;
    const { writing } = await callDaemon(folder.socketPath, "status", {}, { timeoutMs: STATUS_MS });
    if (writing) await neverClosed(writing.folder);
  }

  private async flush(
    volume: string,
    mount: KnownMount,
    onProgress: (progress: DrainProgress) => void,
  ): Promise<void> {
    if (mount.settings?.volume.mode !== "writable") return;
    if (!mount.folder || mount.pid === undefined) {
      throw new HawserError(
        "daemon_failed",
        `the process of ${mount.mountPoint} is gone; mount it again to bring home what it had.`,
      );
    }
    await callDaemon(
      mount.folder.socketPath,
      "flush",
      { path: "" },
      {
        onEvent: (event) => {
          const { files, bytes } = event as PendingProgress;
          onProgress({ volume, pendingFiles: files, pendingBytes: bytes });
        },
      },
    );
  }

  private async pendingFiles({ folder, pid }: KnownMount): Promise<number> {
    if (!folder || pid === undefined) return -1;
    try {
      const status = await callDaemon(folder.socketPath, "status", {}, { timeoutMs: STATUS_MS });
      return status.writing?.pendingFiles ?? 0;
    } catch {
      return -1;
    }
  }

  private async unmount(mount: KnownMount, force: boolean): Promise<void> {
    try {
      await endMount(mount, force ? { force } : {});
    } catch (error) {
      // Nothing is lost by it once everything is flushed: whoever has files open there gets errors.
      if (!HawserError.is(error, "mount_point_busy")) throw error;
      await endMount(mount, mount.settings?.volume.mode === "writable" ? { lazy: true } : { force: true });
    }
  }

  /** Ends what is left, whatever is open or pending, and removes what was made for it. */
  async remove(): Promise<void> {
    for (const { mount } of this.known()) await endMount(mount, { force: true });
    for (const { config } of this.spec.volumes) {
      if (this.spec.systemd) {
        const unit = unitName(this.spec.pool, config.name);
        await run("systemctl", ["stop", unit], { timeout: SYSTEMCTL_MS }).catch(() => undefined);
        rmSync(join(UNITS, unit), { force: true });
      }
      const mark = join(this.folder.path, `made-${Buffer.from(config.mount).toString("base64url")}`);
      if (!existsSync(mark)) continue;
      try {
        rmdirSync(config.mount);
      } catch {
        // Somebody put something there.
      }
    }
    if (this.spec.systemd) await run("systemctl", ["daemon-reload"]).catch(() => undefined);
    rmSync(this.folder.memoryPath(this.spec), { recursive: true, force: true });
  }
}
