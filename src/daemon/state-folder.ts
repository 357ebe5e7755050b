/**
 * State folders: one for each mount, below one root for each user.
 *
 * A folder is named after its mount point, so a path has at most one. It holds `settings.json`, `owner.json` (the
 * process that serves it), `control` (a Unix socket) and `log`. Making the folder's owner file is the lock: two mounts
 * of one path cannot both begin. After a clean end only the log is left.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { identify, isAlive } from "./process-table.ts";
import type { ProcessIdentity } from "./process-table.ts";
import { parseSettings } from "./settings.ts";
import type { MountSettings } from "./settings.ts";

/** How long the log of a mount that ended is kept. */
const KEEP_LOGS_MS: Milliseconds = 7 * 24 * 3600_000;
/** A path longer than this does not fit sockaddr_un. */
const SOCKET_PATH_BYTES = 107;

/**
 * Where this user's mounts keep their state: HAWSER_STATE_DIR, else /run/hawser for root, else
 * $XDG_RUNTIME_DIR/hawser, else ~/.local/state/hawser.
 */
export function stateRoot(
  environment: NodeJS.ProcessEnv = process.env,
  uid = process.getuid?.() ?? 0,
): string {
  if (environment["HAWSER_STATE_DIR"]) return environment["HAWSER_STATE_DIR"];
  if (uid === 0) return "/run/hawser";
  if (environment["XDG_RUNTIME_DIR"]) return join(environment["XDG_RUNTIME_DIR"], "hawser");
  return join(environment["XDG_STATE_HOME"] ?? join(homedir(), ".local", "state"), "hawser");
}

export class StateFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  static for(root: string, mountPoint: string): StateFolder {
    const hash = createHash("sha256").update(mountPoint).digest("hex").slice(0, 10);
    const label = basename(mountPoint)
      .replace(/[^A-Za-z0-9_-]/g, "_")
      .slice(0, 16);
    return new StateFolder(join(root, `${label}-${hash}`));
  }

  /** Every folder with settings: mounts that live, and mounts whose process died. */
  static list(root: string): StateFolder[] {
    let names: string[];
    try {
      names = readdirSync(root);
    } catch {
      return [];
    }
    return names
      .sort()
      .map((name) => new StateFolder(join(root, name)))
      .filter((folder) => existsSync(folder.settingsPath));
  }

  /** Removes the logs of mounts that ended long ago. What cannot be removed stays. */
  static prune(root: string): void {
    let names: string[];
    try {
      names = readdirSync(root);
    } catch {
      return;
    }
    for (const name of names) {
      const folder = new StateFolder(join(root, name));
      if (existsSync(folder.settingsPath) || existsSync(folder.ownerPath)) continue;
      try {
        if (Date.now() - statSync(folder.path).mtimeMs < KEEP_LOGS_MS) continue;
        // By name: whatever else may be in there is not ours to remove.
        for (const path of [folder.logPath, `${folder.logPath}.1`]) rmSync(path, { force: true });
        rmdirSync(folder.path);
      } catch {
        // Somebody else's, or just being used.
      }
    }
  }

  get settingsPath(): string {
    return join(this.path, "settings.json");
  }
  get ownerPath(): string {
    return join(this.path, "owner.json");
  }
  get socketPath(): string {
    return join(this.path, "control");
  }
  get logPath(): string {
    return join(this.path, "log");
  }

  /**
   * Makes the folder this process's own.
   *
   * @throws HawserError `mount_point_busy` when a live process owns it, `permission_denied` when it cannot be made
   */
  claim(settings: MountSettings): void {
    if (Buffer.byteLength(this.socketPath) > SOCKET_PATH_BYTES) {
      throw new HawserError(
        "invalid_argument",
        `The state folder ${this.path} is too long for a socket; set HAWSER_STATE_DIR to a shorter path.`,
      );
    }
    this.makePrivate();
    for (;;) {
      const owner = this.owner();
      if (owner && isAlive(owner) && owner.pid !== process.pid) {
        throw new HawserError(
          "mount_point_busy",
          `${settings.mountPoint} is already being mounted or served by process ${owner.pid}; see 'hawser status'.`,
        );
      }
      rmSync(this.ownerPath, { force: true });
      if (this.tryOwn()) break;
    }
    rmSync(this.socketPath, { force: true });
    if (existsSync(this.logPath)) renameSync(this.logPath, `${this.logPath}.1`);
    writeFileSync(this.settingsPath, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 });
  }

  /** Takes over from the process that prepared the folder. */
  adopt(): void {
    renameSync(this.writeOwner(), this.ownerPath);
  }

  owner(): ProcessIdentity | undefined {
    try {
      return JSON.parse(readFileSync(this.ownerPath, "utf8")) as ProcessIdentity;
    } catch {
      return undefined;
    }
  }

  /** The process that serves this mount, when it lives. */
  liveOwner(): ProcessIdentity | undefined {
    const owner = this.owner();
    return owner && isAlive(owner) ? owner : undefined;
  }

  /** @throws HawserError `not_mounted` when there are none, `daemon_failed` when they are damaged */
  settings(): MountSettings {
    let text: string;
    try {
      text = readFileSync(this.settingsPath, "utf8");
    } catch (error) {
      throw new HawserError("not_mounted", `${this.path} holds no mount.`, { cause: error });
    }
    return parseSettings(text, this.settingsPath);
  }

  /** Removes everything but the logs. */
  release(): void {
    for (const path of [this.socketPath, this.settingsPath, this.ownerPath]) rmSync(path, { force: true });
  }

  /** The folder as 0700 and ours, or an error: in a shared parent somebody else could have made it first. */
  private makePrivate(): void {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o700 });
      const stat = lstatSync(this.path);
      if (!stat.isDirectory() || stat.uid !== process.getuid?.())
        throw new Error("it belongs to somebody else");
      chmodSync(this.path, 0o700);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new HawserError(
        "permission_denied",
        `The state folder ${this.path} cannot be used (${reason}); set HAWSER_STATE_DIR to a folder of yours.`,
        {
          cause: error,
        },
      );
    }
  }

  /** A link is made whole or not at all, so that nobody reads half an owner. */
  private tryOwn(): boolean {
    const temporary = this.writeOwner();
    try {
      linkSync(temporary, this.ownerPath);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
  }

  private writeOwner(): string {
    const temporary = `${this.ownerPath}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify(identify(process.pid)), { mode: 0o600 });
    return temporary;
  }
}
