/**
 * Settings: what the process of a mount is told, as JSON in the mount's state folder.
 *
 * No secret is ever in them: credentials are named by where they come from, and fetched from there by the process
 * that signs requests.
 */
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import type { CredentialsConfig, VolumeConfig } from "../config/schema.ts";
import type { LogLevel } from "../observe/logger.ts";

/** Raised when a daemon could misread settings that another version wrote. */
export const SETTINGS_VERSION = 1;

/** Where the mount's process finds credentials. */
export type CredentialsReference =
  | { from: "default" | "environment" | "anonymous" }
  | { from: "profile"; profile: string }
  /** Keys in a hawser.yaml: the file is read again. */
  | { from: "config"; path: string; volume: string }
  /** A file in memory (tmpfs) that somebody keeps fresh: it is read again whenever credentials are needed anew. */
  | { from: "file"; path: string }
  /** The process that started the mount hands them over, and refreshed ones when they expire. */
  | { from: "parent" };

export interface MountSettings {
  version: typeof SETTINGS_VERSION;
  name: string;
  volume: Omit<VolumeConfig, "credentials" | "name">;
  /** The mount point with symbolic links resolved; `volume.mount` is what the user wrote. */
  mountPoint: string;
  credentials: CredentialsReference;
  logLevel: LogLevel;
  /** Where the log goes instead of the state folder. */
  logFile?: string | undefined;
  createdMs: EpochMs;
}

/** The reference for configured credentials; `undefined` for keys, which only their owner can hand over. */
export function credentialsReference(
  config: CredentialsConfig | undefined,
): CredentialsReference | undefined {
  if (config === undefined) return { from: "default" };
  if (typeof config === "string") return { from: config };
  return "profile" in config ? { from: "profile", profile: config.profile } : undefined;
}

/** @throws HawserError `daemon_failed` when the text is not what this version writes */
export function parseSettings(text: string, path: string): MountSettings {
  let settings: unknown;
  try {
    settings = JSON.parse(text);
  } catch (error) {
    throw new HawserError("daemon_failed", `${path} is damaged; remove it and mount again.`, {
      cause: error,
    });
  }
  const version =
    typeof settings === "object" && settings !== null && "version" in settings ? settings.version : undefined;
  if (version !== SETTINGS_VERSION) {
    throw new HawserError(
      "daemon_failed",
      `${path} was written by another version of Hawser; unmount with that version.`,
    );
  }
  return settings as MountSettings;
}
