/** What is asked for when something is to be mounted, and how it becomes settings and an environment. */
import { HawserError } from "../common/errors.ts";
import type { NamedVolume } from "../config/file.ts";
import type { Environment } from "../config/interpolate.ts";
import type { LogLevel } from "../observe/logger.ts";
import { SETTINGS_VERSION, credentialsReference } from "./settings.ts";
import type { CredentialsReference, MountSettings } from "./settings.ts";
import type { HandedCredentials } from "./supervisor.ts";

export interface MountRequest {
  volume: NamedVolume;
  /** The file the volume is from, where its keys can be read again. */
  configPath?: string | undefined;
  /** Hands over credentials from this process's memory, for as long as the mount lives. */
  handOver?: (() => Promise<HandedCredentials>) | undefined;
  /** Credentials as JSON, in memory (tmpfs), kept fresh by somebody else; wins over what the volume says. */
  credentialsFile?: string | undefined;
  environment: Environment;
  logLevel?: LogLevel | undefined;
  /** Absolute. */
  logFile?: string | undefined;
}

/**
 * Threads for file system calls and DNS, in the environment because Node reads it before any program runs. Blocking
 * calls on a slow disk must not hold up others.
 */
const THREADPOOL_SIZE = "16";

/** @throws HawserError `invalid_argument` when there are keys that nobody could hand over */
export function settingsFor(request: MountRequest, mountPoint: string): MountSettings {
  const { credentials: _secret, name, ...volume } = request.volume;
  return {
    version: SETTINGS_VERSION,
    name,
    volume,
    mountPoint,
    credentials: referenceFor(request),
    logLevel: request.logLevel ?? "info",
    logFile: request.logFile,
    createdMs: Date.now(),
  };
}

function referenceFor({ volume, configPath, handOver, credentialsFile }: MountRequest): CredentialsReference {
  if (credentialsFile !== undefined) return { from: "file", path: credentialsFile };
  if (handOver) return { from: "parent" };
  const reference = credentialsReference(volume.credentials);
  if (reference) return reference;
  if (configPath !== undefined) return { from: "config", path: configPath, volume: volume.name };
  throw new HawserError(
    "invalid_argument",
    "Keys can only be used by a volume of hawser.yaml or through the library.",
  );
}

/** The environment of the mount's process. */
export function daemonEnvironment(environment: Environment): Record<string, string> {
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    // Node's own channel to *this* process's parent is not the child's.
    if (value !== undefined && !name.startsWith("NODE_CHANNEL_")) own[name] = value;
  }
  return { ...own, UV_THREADPOOL_SIZE: own["UV_THREADPOOL_SIZE"] ?? THREADPOOL_SIZE };
}
