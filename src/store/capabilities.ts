/**
 * Capabilities: what a store can do, found out by doing it, and what Hawser does where it cannot.
 *
 * Presets say what is known; a probe says what is true. It writes a few tiny objects under a name of its own below the
 * given prefix and removes them again. Where it may not write it changes nothing and says that it knows no more than
 * the preset.
 */
import { randomUUID } from "node:crypto";
import { HawserError } from "../common/errors.ts";
import { md5Etag } from "./etag.ts";
import type { ObjectStore, RequestOptions, StoreCapabilities } from "./object-store.ts";

export type Capability = keyof StoreCapabilities;

/** Each capability in words, and what happens without it. */
export const CAPABILITY_TEXTS: Readonly<Record<Capability, { title: string; fallback: string }>> = {
  conditionalPut: {
    title: "Conditional writes (If-Match, If-None-Match)",
    fallback:
      "Hawser compares the object's ETag just before writing; a write by somebody else in between is not noticed.",
  },
  batchDelete: {
    title: "Deleting in batches (DeleteObjects)",
    fallback: "Hawser deletes objects one by one, 16 at a time.",
  },
  checksums: {
    title: "Checksums (CRC32C, CRC64NVME)",
    fallback:
      "Hawser verifies whole objects by the MD5 in their ETag; multipart objects are not verified on reading.",
  },
  partCopy: {
    title: "Copying ranges on the server (UploadPartCopy)",
    fallback: "Changing a large object, or renaming one above 5 GiB, uploads it whole again.",
  },
};

export type ProbeOutcome = "yes" | "no" | "unknown";

export interface CapabilityReport {
  /** False when nothing could be written: then every outcome is `unknown`. */
  wrote: boolean;
  outcomes: Record<Capability, ProbeOutcome>;
  /** What to believe: the probe's outcome, else what the store was opened with. */
  capabilities: StoreCapabilities;
  /** Why nothing could be written, or what could not be removed. */
  notes: string[];
}

export interface ProbeOptions extends RequestOptions {
  /** Probe objects go below this; `` is the bucket's root. */
  prefix: string;
  /** Sends nothing that writes. */
  readOnly?: boolean;
}

/**
 * Tests what a store can do. Needs to put, copy and delete below the prefix.
 *
 * The store must have been opened with all capabilities assumed, or its fallbacks answer instead of the store:
 * `createObjectStore({ …, capabilities: { conditionalPut: true, batchDelete: true, checksums: true, partCopy: true } })`.
 */
export async function probeCapabilities(
  store: ObjectStore,
  options: ProbeOptions,
): Promise<CapabilityReport> {
  const { prefix, readOnly, ...request } = options;
  const outcomes: Record<Capability, ProbeOutcome> = {
    conditionalPut: "unknown",
    batchDelete: "unknown",
    checksums: "unknown",
    partCopy: "unknown",
  };
  const notes: string[] = [];
  const base = `${prefix}.hawser-probe-${randomUUID()}`;
  if (readOnly) notes.push("Nothing was written: the table shows what is known of this kind of store.");
  const wrote = !readOnly && (await canWrite(store, base, request, notes));
  if (wrote) {
    outcomes.conditionalPut = await probeConditions(store, base, request);
    outcomes.checksums = await probeChecksums(store, base, request);
    outcomes.partCopy = await probePartCopy(store, base, request, notes);
    outcomes.batchDelete = await probeBatchDelete(store, base, request, notes);
  }
  const capabilities = { ...store.capabilities };
  for (const name of Object.keys(outcomes) as Capability[]) {
    if (outcomes[name] !== "unknown") capabilities[name] = outcomes[name] === "yes";
  }
  return { wrote, outcomes, capabilities, notes };
}

const CONTENT = Buffer.from("hawser probe\n");

async function canWrite(
  store: ObjectStore,
  key: string,
  request: RequestOptions,
  notes: string[],
): Promise<boolean> {
  try {
    await store.put(key, CONTENT, request);
    return true;
  } catch (error) {
    if (!HawserError.is(error)) throw error;
    notes.push(
      `Nothing could be written below the prefix (${error.s3Code ?? error.code}): capabilities are not tested.`,
    );
    return false;
  }
}

/** A store that ignores conditions overwrites: that is a no, and the worst kind. */
async function probeConditions(
  store: ObjectStore,
  key: string,
  request: RequestOptions,
): Promise<ProbeOutcome> {
  const refusesTaken = await refused(store.put(key, CONTENT, { ...request, ifNoneMatch: "*" }), "exists");
  if (refusesTaken !== "yes") return refusesTaken;
  const other = md5Etag(Buffer.from("something else"));
  const refusesOther = await refused(
    store.put(key, CONTENT, { ...request, ifMatch: other }),
    "object_changed",
  );
  if (refusesOther !== "yes") return refusesOther;
  return await succeeds(store.put(key, CONTENT, { ...request, ifMatch: md5Etag(CONTENT) }));
}

async function probeChecksums(
  store: ObjectStore,
  key: string,
  request: RequestOptions,
): Promise<ProbeOutcome> {
  try {
    const { checksums } = await store.head(key, { ...request, checksums: true });
    return checksums === undefined ? "no" : "yes";
  } catch (error) {
    return outcomeOf(error);
  }
}

async function probePartCopy(
  store: ObjectStore,
  base: string,
  request: RequestOptions,
  notes: string[],
): Promise<ProbeOutcome> {
  const key = `${base}-parts`;
  let uploadId: string | undefined;
  try {
    ({ uploadId } = await store.createMultipart(key, request));
    await store.uploadPartCopy(key, uploadId, 1, { key: base, range: [0, CONTENT.length - 1] }, request);
    return "yes";
  } catch (error) {
    return outcomeOf(error);
  } finally {
    if (uploadId !== undefined) {
      await store.abortMultipart(key, uploadId, request).catch((error: unknown) => {
        notes.push(`The multipart upload of ${key} could not be aborted (${String(error)}).`);
      });
    }
  }
}

/** Removes what the probe wrote, in a batch when that works. */
async function probeBatchDelete(
  store: ObjectStore,
  base: string,
  request: RequestOptions,
  notes: string[],
): Promise<ProbeOutcome> {
  try {
    const failures = await store.deleteMany([base, `${base}-parts`], request);
    for (const { key, message } of failures) notes.push(`${key} could not be removed (${message}).`);
    // The store notes it itself when it had to fall back.
    return store.capabilities.batchDelete ? "yes" : "no";
  } catch (error) {
    await store.delete(base, request).catch(() => notes.push(`${base} could not be removed.`));
    return outcomeOf(error);
  }
}

async function refused(
  attempt: Promise<unknown>,
  ...codes: ("exists" | "object_changed")[]
): Promise<ProbeOutcome> {
  try {
    await attempt;
    return "no";
  } catch (error) {
    return HawserError.is(error, ...codes) ? "yes" : outcomeOf(error);
  }
}

async function succeeds(attempt: Promise<unknown>): Promise<ProbeOutcome> {
  try {
    await attempt;
    return "yes";
  } catch (error) {
    return outcomeOf(error);
  }
}

/** Denied or broken says nothing about what the store can do. */
function outcomeOf(error: unknown): ProbeOutcome {
  return HawserError.is(error, "not_supported_by_store", "invalid_argument") ? "no" : "unknown";
}
