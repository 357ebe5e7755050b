/** Archived objects: asking the store for readable copies, and waiting until they are there. */
import { setTimeout } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { ListedObject } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";

/** How fast, and at what price. */
export const RESTORE_TIERS = ["Expedited", "Standard", "Bulk"] as const;
export type RestoreTier = (typeof RESTORE_TIERS)[number];

/** Classes whose objects cannot be read before they are restored. */
const ARCHIVED = new Set(["GLACIER", "DEEP_ARCHIVE"]);

export function isArchived({ storageClass }: Pick<ListedObject, "storageClass">): boolean {
  return storageClass !== undefined && ARCHIVED.has(storageClass);
}

export type RestoreState = "not-archived" | "restoring" | "restored";

/**
 * Asks for a copy that can be read for some days. One that is there already lasts as long from now on.
 *
 * @returns `restored` when it can be read now
 */
export async function requestRestore(
  store: S3Store,
  key: string,
  options: { days: number; tier: RestoreTier; signal?: AbortSignal | undefined },
): Promise<RestoreState> {
  const { days, tier, signal } = options;
  try {
    const { $metadata } = await store.control(
      { operation: "RestoreObject", key, signal, reason: "bulk" },
      ({ sdk, client, bucket, signal }) => {
        const RestoreRequest = { Days: days, GlacierJobParameters: { Tier: tier } };
        const command = new sdk.RestoreObjectCommand({ Bucket: bucket, Key: key, RestoreRequest });
        return client.send(command, { abortSignal: signal });
      },
    );
    return $metadata.httpStatusCode === 200 ? "restored" : "restoring";
  } catch (error) {
    if (HawserError.is(error) && error.s3Code === "RestoreAlreadyInProgress") return "restoring";
    if (HawserError.is(error) && error.s3Code === "InvalidObjectState") return "not-archived";
    throw error;
  }
}

/** Resolves when the copy can be read; rejects when the signal ends it. */
export async function waitRestored(
  store: S3Store,
  key: string,
  { pollMs, signal }: { pollMs: Milliseconds; signal?: AbortSignal | undefined },
): Promise<void> {
  for (;;) {
    const { restore } = await store.head(key, { reason: "bulk", signal });
    if (restore === undefined || !restore.includes('ongoing-request="true"')) return;
    await setTimeout(pollMs, undefined, signal ? { signal } : {});
  }
}
