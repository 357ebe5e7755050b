/** A bucket's settings: what protects its content, what is wrong with them, and changing them. */
import { HawserError } from "../../common/errors.ts";
import type { ControlAttempt } from "../../store/s3-control.ts";
import type { S3Store } from "../../store/s3-store.ts";
import { isUnknownToStore, setPublicAccessBlock, setVersioning } from "./buckets.ts";

export interface BucketSettings {
  region: string;
  /** Undefined here and below: the store does not have this setting, or does not tell it. */
  encryption?: { algorithm: string; kmsKeyId?: string | undefined } | undefined;
  versioning?: "on" | "off" | "suspended" | undefined;
  /** Which of the four ways to be public are blocked. */
  publicAccess?: "blocked" | "partly-blocked" | "not-blocked" | undefined;
  /** Where objects are replicated to. */
  replication?: { bucket: string; enabled: boolean }[] | undefined;
}

/** Asks a setting. @returns `none` where the bucket has none, undefined where the store has no such thing */
async function ask<T>(
  store: S3Store,
  operation: string,
  send: (attempt: ControlAttempt) => Promise<T>,
  none: T | undefined,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  try {
    return await store.control({ operation, signal }, send);
  } catch (error) {
    if (isUnknownToStore(error)) return undefined;
    // `NoSuch…Configuration`, `…NotFoundError`; a bucket that is not there is another code.
    if (HawserError.is(error, "not_found")) return none;
    throw error;
  }
}

export async function getSettings(store: S3Store, signal?: AbortSignal): Promise<BucketSettings> {
  const [encryption, versioning, block, replication] = await Promise.all([
    ask(
      store,
      "GetBucketEncryption",
      ({ sdk, client, bucket, signal }) =>
        client.send(new sdk.GetBucketEncryptionCommand({ Bucket: bucket }), { abortSignal: signal }),
      undefined,
      signal,
    ),
    ask(
      store,
      "GetBucketVersioning",
      ({ sdk, client, bucket, signal }) =>
        client.send(new sdk.GetBucketVersioningCommand({ Bucket: bucket }), { abortSignal: signal }),
      undefined,
      signal,
    ),
    ask(
      store,
      "GetPublicAccessBlock",
      ({ sdk, client, bucket, signal }) =>
        client.send(new sdk.GetPublicAccessBlockCommand({ Bucket: bucket }), { abortSignal: signal }),
      { $metadata: {} },
      signal,
    ),
    ask(
      store,
      "GetBucketReplication",
      ({ sdk, client, bucket, signal }) =>
        client.send(new sdk.GetBucketReplicationCommand({ Bucket: bucket }), { abortSignal: signal }),
      { $metadata: {} },
      signal,
    ),
  ]);
  const rule = encryption?.ServerSideEncryptionConfiguration?.Rules?.[0]?.ApplyServerSideEncryptionByDefault;
  const blocks = Object.values(block?.PublicAccessBlockConfiguration ?? {}).filter(
    (on) => on === true,
  ).length;
  return {
    region: store.endpoint.region,
    encryption: rule?.SSEAlgorithm && { algorithm: rule.SSEAlgorithm, kmsKeyId: rule.KMSMasterKeyID },
    versioning: versioning && VERSIONING[versioning.Status ?? "Never"],
    publicAccess: block && (blocks === 4 ? "blocked" : blocks === 0 ? "not-blocked" : "partly-blocked"),
    replication:
      replication &&
      (replication.ReplicationConfiguration?.Rules ?? []).map(({ Destination, Status }) => ({
        bucket: (Destination?.Bucket ?? "").replace(/^arn:[^:]*:s3:::/, ""),
        enabled: Status === "Enabled",
      })),
  };
}

const VERSIONING = { Enabled: "on", Suspended: "suspended", Never: "off" } as const;

export interface Finding {
  setting: "encryption" | "versioning" | "public-access" | "replication" | "lifecycle";
  level: "good" | "advice" | "bad";
  text: string;
}

/** What is good and bad about a bucket. Settings that the store does not have are passed over. */
export function checkSettings(
  { encryption, versioning, publicAccess, replication }: BucketSettings,
  lifecycle: { abortsMultiparts: boolean; expiresOldVersions: boolean },
): Finding[] {
  const findings: Finding[] = [];
  const say = (setting: Finding["setting"], level: Finding["level"], text: string): void =>
    void findings.push({ setting, level, text });
  if (publicAccess === "blocked") say("public-access", "good", "Public access is blocked.");
  else if (publicAccess !== undefined) {
    const how = publicAccess === "not-blocked" ? "not" : "only partly";
    say(
      "public-access",
      "bad",
      `Public access is ${how} blocked: hawser s3 bucket set --public-access blocked.`,
    );
  }
  if (encryption) say("encryption", "good", `New objects are encrypted by ${encryption.algorithm}.`);
  else
    say(
      "encryption",
      "advice",
      "No encryption by default is told: hawser s3 bucket set --encryption AES256.",
    );
  if (versioning === "on") say("versioning", "good", "Old versions are kept.");
  else if (versioning !== undefined)
    say("versioning", "advice", "What is replaced or removed is lost: hawser s3 bucket set --versioning on.");
  if (versioning === "on" && !lifecycle.expiresOldVersions)
    say(
      "lifecycle",
      "advice",
      "Old versions are kept, and paid for, without end: set oldVersions in the lifecycle.",
    );
  if (lifecycle.abortsMultiparts) say("lifecycle", "good", "Unfinished uploads are ended by a rule.");
  else
    say(
      "lifecycle",
      "advice",
      "Unfinished uploads stay, and are paid for: set abortMultiparts in the lifecycle.",
    );
  for (const { bucket, enabled } of replication ?? []) {
    if (enabled) say("replication", "good", `Objects are replicated to ${bucket}.`);
    else say("replication", "advice", `Replication to ${bucket} is switched off.`);
  }
  return findings;
}

export interface SettingChanges {
  encryption?: "AES256" | "aws:kms" | undefined;
  kmsKeyId?: string | undefined;
  versioning?: boolean | undefined;
  blockPublicAccess?: boolean | undefined;
  /** Bucket to replicate to, by a role that S3 assumes; null ends it. */
  replication?: { bucket: string; role: string } | null | undefined;
}

/** Changes what is given, one after the other, and leaves the rest. */
export async function setSettings(
  store: S3Store,
  changes: SettingChanges,
  signal?: AbortSignal,
): Promise<void> {
  const { encryption, kmsKeyId, versioning, blockPublicAccess, replication } = changes;
  if (blockPublicAccess !== undefined) await setPublicAccessBlock(store, blockPublicAccess, signal);
  if (versioning !== undefined) await setVersioning(store, versioning, signal);
  if (encryption !== undefined) await setEncryption(store, encryption, kmsKeyId, signal);
  if (replication === null) {
    await store.control({ operation: "DeleteBucketReplication", signal }, ({ sdk, client, bucket, signal }) =>
      client.send(new sdk.DeleteBucketReplicationCommand({ Bucket: bucket }), { abortSignal: signal }),
    );
  } else if (replication) await setReplication(store, replication, signal);
}

async function setEncryption(
  store: S3Store,
  algorithm: "AES256" | "aws:kms",
  kmsKeyId: string | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  await store.control({ operation: "PutBucketEncryption", signal }, ({ sdk, client, bucket, signal }) =>
    client.send(
      new sdk.PutBucketEncryptionCommand({
        Bucket: bucket,
        ServerSideEncryptionConfiguration: {
          Rules: [
            {
              ApplyServerSideEncryptionByDefault: {
                SSEAlgorithm: algorithm,
                ...(kmsKeyId === undefined ? {} : { KMSMasterKeyID: kmsKeyId }),
              },
              // One call to KMS for many objects, not one for each.
              BucketKeyEnabled: algorithm === "aws:kms",
            },
          ],
        },
      }),
      { abortSignal: signal },
    ),
  );
}

async function setReplication(
  store: S3Store,
  { bucket: target, role }: { bucket: string; role: string },
  signal: AbortSignal | undefined,
): Promise<void> {
  await store.control({ operation: "PutBucketReplication", signal }, ({ sdk, client, bucket, signal }) =>
    client.send(
      new sdk.PutBucketReplicationCommand({
        Bucket: bucket,
        ReplicationConfiguration: {
          Role: role,
          Rules: [
            {
              ID: `to-${target}`,
              Status: "Enabled",
              Priority: 1,
              Filter: { Prefix: "" },
              DeleteMarkerReplication: { Status: "Disabled" },
              Destination: { Bucket: `arn:aws:s3:::${target}` },
            },
          ],
        },
      }),
      { abortSignal: signal },
    ),
  );
}
