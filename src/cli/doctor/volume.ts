/** What one volume needs: credentials, a bucket that answers, clocks that agree, keys that are paths, room for a cache. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { HawserError, toHawserError } from "../../common/errors.ts";
import { formatBytes, formatDuration } from "../../common/units.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { CredentialsConfig, VolumeConfig } from "../../config/schema.ts";
import { volumeUrl } from "../../config/volume.ts";
import { resolveConfigured } from "../../daemon/credentials.ts";
import { openStore } from "../../daemon/open-volume.ts";
import { silentLogger } from "../../observe/logger.ts";
import { CAPABILITY_TEXTS, probeCapabilities } from "../../store/capabilities.ts";
import type { Capability, CapabilityReport } from "../../store/capabilities.ts";
import type { S3Store } from "../../store/s3-store.ts";
import { findUnreachableKeys } from "../../vfs/unreachable.ts";
import { fail, ok, warn } from "./check.ts";
import type { Finding } from "./check.ts";

/** What is asked about; without a mount path, because nothing is mounted. */
export type Examined = Pick<
  VolumeConfig,
  | "bucket"
  | "prefix"
  | "storage"
  | "region"
  | "endpoint"
  | "addressing"
  | "accountId"
  | "requesterPays"
  | "credentials"
  | "cache"
>;

export interface VolumeFindings {
  source: string;
  findings: Finding[];
  capabilities?: CapabilityReport;
}

const ANSWER_MS: Milliseconds = 10_000;
/** A look at the keys of a large bucket stops here; doctor is for people who wait. */
const KEYS_MS: Milliseconds = 20_000;
/** Keys shown. */
const KEYS_SHOWN = 5;
/** Stores refuse signatures that are 15 minutes off. */
const SKEW_REFUSED: Milliseconds = 15 * 60_000;
const SKEW_WORTH_SAYING: Milliseconds = 60_000;

export async function examineVolume(
  volume: Examined,
  options: { environment: Environment; probe: boolean },
): Promise<VolumeFindings> {
  const source = volumeUrl(volume);
  const findings: Finding[] = [cacheRoom(volume)];
  const credentials = resolveConfigured(volume.credentials, options.environment);
  let store: S3Store;
  try {
    store = await openStore(volume, { credentials, log: silentLogger });
  } catch (error) {
    return { source, findings: [...findings, failure("endpoint", "Endpoint", error)] };
  }
  try {
    findings.push(await credentialsFinding(store, volume.credentials, options.environment));
    findings.push(await clockFinding(store));
    const reached = await bucketFinding(store, volume);
    findings.push(reached);
    if (reached.outcome === "fail") return { source, findings };
    findings.push(await keysFinding(store, volume.prefix));
    const capabilities = await probeCapabilities(store, {
      prefix: volume.prefix,
      readOnly: !options.probe,
      deadlineMs: ANSWER_MS,
    });
    return { source, findings, capabilities };
  } finally {
    await store.close();
  }
}

/** The table of what the store can do, and what happens where it cannot. */
export function capabilityRows({ capabilities, outcomes }: CapabilityReport): string[][] {
  return (Object.keys(CAPABILITY_TEXTS) as Capability[]).map((name) => {
    const { title, fallback } = CAPABILITY_TEXTS[name];
    const can = capabilities[name];
    return [
      title,
      can ? "yes" : "no",
      outcomes[name] === "unknown" ? "known" : "tested",
      can ? "" : fallback,
    ];
  });
}

function failure(id: string, title: string, error: unknown): Finding {
  const { message, code } = toHawserError(error);
  return fail(id, title, message, `see docs/ERRORS.md, ${code}`);
}

async function credentialsFinding(
  store: S3Store,
  config: CredentialsConfig | undefined,
  environment: Environment,
): Promise<Finding> {
  const title = "Credentials";
  if (store.credentials.anonymous) return ok("credentials", title, "none: requests are not signed");
  try {
    const found = await store.credentials.get();
    const key = found ? `, key ${maskKey(found.accessKeyId)}` : "";
    const expires =
      found?.expiresMs === undefined ? "" : `, valid for ${formatDuration(found.expiresMs - Date.now())}`;
    return ok("credentials", title, `from ${sourceOf(config, environment)}${key}${expires}`);
  } catch (error) {
    return failure("credentials", title, error);
  }
}

/** Enough to tell keys apart. */
export function maskKey(accessKeyId: string): string {
  return accessKeyId.length <= 8 ? "****" : `${accessKeyId.slice(0, 4)}…${accessKeyId.slice(-4)}`;
}

/** The first place of the AWS chain that has something to say. */
export function sourceOf(config: CredentialsConfig | undefined, environment: Environment): string {
  if (typeof config === "object")
    return "profile" in config ? `the profile '${config.profile}'` : "hawser.yaml";
  if (environment["AWS_PROFILE"] && config !== "environment")
    return `the profile '${environment["AWS_PROFILE"]}' (AWS_PROFILE)`;
  if (environment["AWS_ACCESS_KEY_ID"]) return "the environment (AWS_ACCESS_KEY_ID)";
  if (environment["AWS_WEB_IDENTITY_TOKEN_FILE"]) return "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)";
  if (
    environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] ||
    environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
  ) {
    return "the container's role";
  }
  return "the default profile or this machine's role";
}

async function clockFinding(store: S3Store): Promise<Finding> {
  const title = "Clock";
  try {
    const before = Date.now();
    const answer = await fetch(store.endpoint.url, {
      method: "HEAD",
      redirect: "manual",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const theirs = Date.parse(answer.headers.get("date") ?? "");
    if (Number.isNaN(theirs)) return ok("clock", title, "the store does not tell its time");
    const skewMs = Math.abs((before + Date.now()) / 2 - theirs);
    const roundedMs = Math.round(skewMs / 60_000) * 60_000;
    const detail = `${formatDuration(roundedMs)} from the store's`;
    if (skewMs < SKEW_WORTH_SAYING) return ok("clock", title, "agrees with the store's");
    const fix = "set this machine's clock: timedatectl set-ntp true";
    return skewMs < SKEW_REFUSED ? warn("clock", title, detail, fix) : fail("clock", title, detail, fix);
  } catch (error) {
    const reason =
      error instanceof Error && error.cause instanceof Error
        ? error.cause.message
        : toHawserError(error).message;
    return fail(
      "clock",
      title,
      `${store.endpoint.url} cannot be asked (${reason})`,
      "check --endpoint, proxy and firewall",
    );
  }
}

async function bucketFinding(store: S3Store, { prefix, bucket }: Examined): Promise<Finding> {
  const title = "Bucket";
  try {
    const page = await store.list({ prefix, maxKeys: 1 }, { reason: "metadata", deadlineMs: ANSWER_MS });
    const where = `${bucket} in ${store.endpoint.region} at ${store.endpoint.url}`;
    if (page.objects.length > 0) return ok("bucket", title, `${where} answers`);
    return warn(
      "bucket",
      title,
      `${where} answers, and there is nothing below '${prefix}'`,
      "check the prefix",
    );
  } catch (error) {
    return failure("bucket", title, error);
  }
}

async function keysFinding(store: S3Store, prefix: string): Promise<Finding> {
  const title = "Keys";
  const signal = AbortSignal.timeout(KEYS_MS);
  const shown: string[] = [];
  let count = 0;
  let complete = true;
  try {
    for await (const { key, reason } of findUnreachableKeys(store, prefix, { signal })) {
      count++;
      if (shown.length < KEYS_SHOWN) shown.push(`${JSON.stringify(key)} (${reason.replaceAll("_", " ")})`);
    }
  } catch (error) {
    if (!signal.aborted) return failure("keys", title, error);
    complete = false;
  }
  const scope = complete ? "" : ` among those seen in ${formatDuration(KEYS_MS)}`;
  if (count === 0) return ok("keys", title, `every key is a path${scope}`);
  return warn(
    "keys",
    title,
    `${count} keys are no paths${scope}: ${shown.join(", ")}`,
    "rename these objects; nothing else makes them files",
  );
}

function cacheRoom({ cache }: Examined): Finding {
  const title = "Cache";
  const folder = cache.dir;
  if (folder === undefined)
    return ok("cache", title, "in memory alone; --cache-dir keeps content on a local disk too");
  const free = freeBytes(folder);
  if (free === undefined)
    return warn("cache", title, `${folder} cannot be looked at`, "choose a folder with --cache-dir");
  const wanted = cache.size ?? 0;
  if (free < wanted) {
    return warn(
      "cache",
      title,
      `${folder}: ${formatBytes(free)} free, ${formatBytes(wanted)} configured`,
      "make room, or set a smaller --cache-size",
    );
  }
  return ok("cache", title, `${folder}: ${formatBytes(free)} free`);
}

/** Of the folder, or of the nearest one above that exists. */
function freeBytes(folder: string): number | undefined {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { bavail, bsize } = statfsSync(path);
      return bavail * bsize;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || path === "/") return undefined;
    }
  }
}

/** For a volume that could not even be read from its file. */
export function configFailure(error: unknown): Finding {
  return HawserError.is(error)
    ? failure("config", "Configuration", error)
    : failure("config", "Configuration", toHawserError(error));
}
