/**
 * Credentials of volumes: which ones a node has by itself, and which ones the launcher hands over.
 *
 * A machine that exists has no role of ours, and no machine has the profiles of this one: those credentials are
 * resolved here, go to the node over SSH's standard input, and are handed over anew before they expire, for as long as
 * the launcher is there.
 */
import { HawserError } from "../common/errors.ts";
import type { EpochMs, Milliseconds } from "../common/units.ts";
import { loadConfig } from "../config/file.ts";
import type { NamedVolume } from "../config/file.ts";
import type { Environment } from "../config/interpolate.ts";
import type { ProviderKind } from "../config/pool.ts";
import { transferCredentials } from "../config/transfers.ts";
import { resolveConfigured } from "../daemon/credentials.ts";
import type { HandedCredentials } from "../daemon/supervisor.ts";
import type { CredentialProvider, CredentialSource } from "../store/credentials.ts";
import { createCredentialSource } from "../store/credentials.ts";
import type { PoolRecord, RecordedVolume } from "./pool-record.ts";

/** Handed over anew when this much is left of their time. */
const RENEW_MS: Milliseconds = 5 * 60_000;

/** Whether the launcher must hand credentials over. */
export function handsOver(
  provider: ProviderKind,
  { credentials }: Pick<RecordedVolume, "credentials">,
): boolean {
  if (credentials === "anonymous") return false;
  // An instance has its own role, for what the AWS chain would find.
  if (provider === "ec2") return credentials !== undefined && credentials !== "default";
  return true;
}

/**
 * A job that is left alone cannot be given fresh credentials.
 *
 * @throws HawserError `credentials_expired` when those of a volume end before the pool does
 */
export async function refuseOutliving(
  {
    provider,
    volumes,
    task,
    expiresMs: poolEndsMs,
  }: Pick<PoolRecord, "provider" | "volumes" | "task" | "expiresMs">,
  credentials: VolumeCredentials,
): Promise<void> {
  const handed = [
    ...volumes.map((volume) => ({ ...volume, what: `the volume '${volume.name}'` })),
    ...transferCredentials(task).map((transfer) => ({ ...transfer, what: "inputs and outputs" })),
  ];
  for (const each of handed) {
    if (!handsOver(provider, each)) continue;
    const expiresMs = (await credentials.get(each.name))?.expiresMs;
    if (expiresMs === undefined || (poolEndsMs !== undefined && poolEndsMs <= expiresMs)) continue;
    throw new HawserError(
      "credentials_expired",
      `The credentials of ${each.what} end at ${new Date(expiresMs).toISOString()}, and a detached job cannot be given others; ` +
        "stay attached, set a ttl that ends before, or use credentials that do not expire.",
    );
  }
}

/** Credentials of each volume, and of inputs and outputs, by name, as this machine has them. */
export class VolumeCredentials {
  private readonly sources = new Map<string, CredentialSource>();

  /** @param given keys and functions of a program, by the volume's name */
  constructor(
    record: Pick<PoolRecord, "volumes" | "configPath" | "task">,
    environment: Environment,
    given: ReadonlyMap<string, CredentialProvider | NamedVolume["credentials"]> = new Map(),
  ) {
    for (const volume of record.volumes) {
      this.sources.set(
        volume.name,
        sourceFor(volume, record.configPath, environment, given.get(volume.name)),
      );
    }
    for (const { name, credentials: configured } of transferCredentials(record.task)) {
      this.sources.set(name, configuredSource(configured, environment));
    }
  }

  /** @returns `undefined` for a public bucket @throws HawserError `credentials_*` */
  async get(volume: string): Promise<HandedCredentials | undefined> {
    return await this.sources.get(volume)?.get();
  }

  /** When credentials of a volume must be handed over again; never where they do not expire. */
  static renewalMs({ expiresMs }: HandedCredentials, nowMs: EpochMs): Milliseconds | undefined {
    return expiresMs === undefined ? undefined : Math.max(1000, expiresMs - nowMs - RENEW_MS);
  }

  source(volume: string): CredentialSource | undefined {
    return this.sources.get(volume);
  }
}

function sourceFor(
  volume: RecordedVolume,
  configPath: string | undefined,
  environment: Environment,
  given: CredentialProvider | NamedVolume["credentials"],
): CredentialSource {
  if (typeof given === "function") return createCredentialSource({ credentials: given, env: environment });
  const configured =
    given ?? (volume.credentials === "keys" ? keysOf(volume, configPath, environment) : volume.credentials);
  return configuredSource(configured, environment);
}

function configuredSource(
  configured: NamedVolume["credentials"],
  environment: Environment,
): CredentialSource {
  const { credentials, profile } = resolveConfigured(configured, environment);
  if (typeof credentials === "object" && "get" in credentials) return credentials;
  return createCredentialSource({ credentials, profile, env: environment });
}

function keysOf(
  volume: RecordedVolume,
  configPath: string | undefined,
  environment: Environment,
): NamedVolume["credentials"] {
  const found =
    configPath === undefined
      ? undefined
      : loadConfig(configPath, environment).volumes.find(({ name }) => name === volume.name)?.credentials;
  if (typeof found === "object") return found;
  throw new HawserError(
    "credentials_missing",
    `The keys of the volume '${volume.name}' are not kept by Hawser; give the hawser.yaml that has them with --config.`,
  );
}
