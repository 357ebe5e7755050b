/** Buckets themselves: list, make, remove. */
import { HawserError } from "../../common/errors.ts";
import type { EpochMs } from "../../common/units.ts";
import type { S3Store } from "../../store/s3-store.ts";
import type { Connection } from "../connection.ts";
import { remove } from "../remove.ts";
import { listVersions, removeVersions } from "./versions.ts";

export interface BucketEntry {
  name: string;
  createdMs: EpochMs;
  region?: string | undefined;
}

/** A request about no bucket has to be sent to the endpoint of one; its name is not part of it. */
const NO_BUCKET = "all-buckets";

/** The buckets of the account, by name. */
export async function listBuckets(connection: Connection, signal?: AbortSignal): Promise<BucketEntry[]> {
  const store = await connection.store(NO_BUCKET);
  const found: BucketEntry[] = [];
  let token: string | undefined;
  do {
    const from = token;
    const page = await store.control({ operation: "ListBuckets", signal }, ({ sdk, client, signal }) =>
      client.send(new sdk.ListBucketsCommand(from === undefined ? {} : { ContinuationToken: from }), {
        abortSignal: signal,
      }),
    );
    for (const { Name, CreationDate, BucketRegion } of page.Buckets ?? []) {
      if (Name !== undefined)
        found.push({ name: Name, createdMs: CreationDate?.getTime() ?? 0, region: BucketRegion });
    }
    token = page.ContinuationToken;
  } while (token !== undefined);
  return found;
}

export interface MakeBucketOptions {
  /** Do not block public access. */
  public?: boolean | undefined;
  versioning?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Makes a bucket in the connection's region, closed to the public.
 *
 * @returns what could not be set because the store does not know it, in words
 * @throws HawserError `exists` when the name is taken, by whomever
 */
export async function makeBucket(store: S3Store, options: MakeBucketOptions = {}): Promise<string[]> {
  const { region } = store.endpoint;
  const { signal } = options;
  try {
    await store.control({ operation: "CreateBucket", signal }, ({ sdk, client, bucket, signal }) =>
      client.send(
        new sdk.CreateBucketCommand({
          Bucket: bucket,
          // S3's oldest region is the one that must not be named.
          ...(region === "us-east-1" || region === "auto"
            ? {}
            : { CreateBucketConfiguration: { LocationConstraint: region as "eu-west-1" } }),
        }),
        { abortSignal: signal },
      ),
    );
  } catch (error) {
    if (HawserError.is(error) && error.s3Code?.startsWith("BucketAlready")) {
      const whose =
        error.s3Code === "BucketAlreadyOwnedByYou" ? "is yours already" : "belongs to somebody else";
      throw new HawserError("exists", `The bucket ${store.bucket} ${whose}.`, { cause: error });
    }
    if (HawserError.is(error) && error.s3Code === "InvalidBucketName") {
      throw new HawserError(
        "invalid_argument",
        `'${store.bucket}' is no name for a bucket: 3 to 63 of a-z, 0-9, dots and hyphens, with a letter or digit at both ends.`,
        { cause: error },
      );
    }
    throw error;
  }
  const notes: string[] = [];
  if (!options.public) notes.push(...(await blockPublicAccess(store, signal)));
  if (options.versioning) await setVersioning(store, true, signal);
  return notes;
}

async function blockPublicAccess(store: S3Store, signal: AbortSignal | undefined): Promise<string[]> {
  try {
    await setPublicAccessBlock(store, true, signal);
    return [];
  } catch (error) {
    if (!isUnknownToStore(error)) throw error;
    return ["This store has no setting that blocks public access; nothing was made public."];
  }
}

/** The store does not have this operation at all. */
export function isUnknownToStore(error: unknown): boolean {
  return (
    HawserError.is(error, "not_supported_by_store") || (HawserError.is(error) && error.httpStatus === 501)
  );
}

export async function setPublicAccessBlock(store: S3Store, on: boolean, signal?: AbortSignal): Promise<void> {
  await store.control({ operation: "PutPublicAccessBlock", signal }, ({ sdk, client, bucket, signal }) =>
    client.send(
      new sdk.PutPublicAccessBlockCommand({
        Bucket: bucket,
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: on,
          IgnorePublicAcls: on,
          BlockPublicPolicy: on,
          RestrictPublicBuckets: on,
        },
      }),
      { abortSignal: signal },
    ),
  );
}

export async function setVersioning(store: S3Store, on: boolean, signal?: AbortSignal): Promise<void> {
  await store.control({ operation: "PutBucketVersioning", signal }, ({ sdk, client, bucket, signal }) =>
    client.send(
      new sdk.PutBucketVersioningCommand({
        Bucket: bucket,
        VersioningConfiguration: { Status: on ? "Enabled" : "Suspended" },
      }),
      { abortSignal: signal },
    ),
  );
}

/**
 * Removes a bucket; with `force` what is in it first, versions and unfinished uploads included.
 *
 * @throws HawserError `not_empty`
 */
export async function removeBucket(
  connection: Connection,
  name: string,
  options: { force?: boolean | undefined; signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { force, signal } = options;
  const store = await connection.store(name);
  if (force) await emptyBucket(connection, store, signal);
  try {
    await store.control({ operation: "DeleteBucket", signal }, ({ sdk, client, bucket, signal }) =>
      client.send(new sdk.DeleteBucketCommand({ Bucket: bucket }), { abortSignal: signal }),
    );
  } catch (error) {
    if (!HawserError.is(error) || error.s3Code !== "BucketNotEmpty") throw error;
    throw new HawserError(
      "not_empty",
      `The bucket ${name} is not empty, or has old versions; write --force to remove what is in it as well.`,
      { cause: error },
    );
  }
}

async function emptyBucket(connection: Connection, store: S3Store, signal?: AbortSignal): Promise<void> {
  const address = { kind: "s3", bucket: store.bucket, key: "" } as const;
  const summary = await remove(connection, [address], { recursive: true, signal });
  const failure = summary.failures.find(({ error }) => error.code !== "not_found")?.error ?? summary.fatal;
  if (failure) throw failure;
  if (!store.capabilities.batchDelete) return;
  for await (const page of listVersions(store, "", { signal })) {
    const [refused] = await removeVersions(store, page, signal);
    if (refused) throw refused;
  }
  for (const { key, uploadId } of await store.listMultiparts("", { signal }).catch(noneWhereUnknown)) {
    await store.abortMultipart(key, uploadId, { signal });
  }
}

function noneWhereUnknown(error: unknown): never[] {
  if (isUnknownToStore(error)) return [];
  throw error;
}
