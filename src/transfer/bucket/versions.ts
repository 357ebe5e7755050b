/** Old versions of objects, and the markers that stand for their removal. */
import { HawserError } from "../../common/errors.ts";
import type { Bytes, EpochMs } from "../../common/units.ts";
import { compareKeys } from "../../store/key-order.ts";
import { unquoteEtag } from "../../store/etag.ts";
import { decodeUrl } from "../../store/list-xml.ts";
import type { S3Store } from "../../store/s3-store.ts";
import { formatS3 } from "../address.ts";

export interface ObjectVersion {
  key: string;
  versionId: string;
  isLatest: boolean;
  /** It says that the object was removed, and has no content. */
  isDeleteMarker: boolean;
  mtimeMs: EpochMs;
  sizeBytes: Bytes;
  etag?: string | undefined;
  storageClass?: string | undefined;
}

/** Pages of versions below a prefix; of a key the newest first. Not grouped by page: a key may go on in the next. */
export async function* listVersions(
  store: S3Store,
  prefix: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<ObjectVersion[]> {
  let marker: { KeyMarker?: string; VersionIdMarker?: string } | undefined = {};
  while (marker) {
    const from: { KeyMarker?: string; VersionIdMarker?: string } = marker;
    const page = await store.control(
      { operation: "ListObjectVersions", signal, reason: "bulk" },
      ({ sdk, client, bucket, signal }) =>
        client.send(
          new sdk.ListObjectVersionsCommand({ Bucket: bucket, Prefix: prefix, EncodingType: "url", ...from }),
          { abortSignal: signal },
        ),
    );
    const decode = page.EncodingType === "url" ? decodeUrl : (text: string) => text;
    const versions = [
      ...(page.Versions ?? []).map((version) => ({ ...version, marker: false })),
      ...(page.DeleteMarkers ?? []).map((version) => ({ ...version, marker: true, Size: 0 })),
    ].map((found): ObjectVersion => ({
      key: decode(found.Key ?? ""),
      versionId: found.VersionId ?? "null",
      isLatest: found.IsLatest ?? false,
      isDeleteMarker: found.marker,
      mtimeMs: found.LastModified?.getTime() ?? 0,
      sizeBytes: found.Size ?? 0,
      ...("ETag" in found && found.ETag !== undefined ? { etag: unquoteEtag(found.ETag) } : {}),
      ...("StorageClass" in found && found.StorageClass !== undefined
        ? { storageClass: found.StorageClass }
        : {}),
    }));
    yield newestFirst(versions);
    const { NextKeyMarker, NextVersionIdMarker } = page;
    marker =
      page.IsTruncated && NextKeyMarker !== undefined
        ? {
            KeyMarker: decode(NextKeyMarker),
            ...(NextVersionIdMarker === undefined ? {} : { VersionIdMarker: NextVersionIdMarker }),
          }
        : undefined;
  }
}

/** The SDK gives versions and markers apart: together again, by key in the order given, then by age. */
function newestFirst(versions: readonly ObjectVersion[]): ObjectVersion[] {
  const byKey = new Map<string, ObjectVersion[]>();
  for (const version of versions) {
    const known = byKey.get(version.key);
    if (known) known.push(version);
    else byKey.set(version.key, [version]);
  }
  const rank = ({ isLatest }: ObjectVersion): number => (isLatest ? 0 : 1);
  const keys = [...byKey.keys()].sort(compareKeys);
  return keys.flatMap((key) => byKey.get(key)!.sort((a, b) => rank(a) - rank(b) || b.mtimeMs - a.mtimeMs));
}

/** Versions of this key alone, newest first. @throws HawserError `not_found` */
export async function versionsOf(
  store: S3Store,
  key: string,
  signal?: AbortSignal,
): Promise<ObjectVersion[]> {
  const found: ObjectVersion[] = [];
  for await (const page of listVersions(store, key, { signal })) {
    const own = page.filter((version) => version.key === key);
    found.push(...own);
    // Longer keys come behind all versions of this one.
    if (own.length < page.length) break;
  }
  if (found.length === 0)
    throw new HawserError("not_found", `There is no version of ${formatS3(store.bucket, key)}.`);
  return found;
}

/** Removes versions for good. @returns why some could not be */
export async function removeVersions(
  store: S3Store,
  versions: readonly Pick<ObjectVersion, "key" | "versionId">[],
  signal?: AbortSignal,
): Promise<HawserError[]> {
  const failures: HawserError[] = [];
  for (let at = 0; at < versions.length; at += 1000) {
    const batch = versions.slice(at, at + 1000);
    const { Errors = [] } = await store.control(
      { operation: "DeleteObjects", signal, reason: "bulk" },
      ({ sdk, client, bucket, signal }) =>
        client.send(
          new sdk.DeleteObjectsCommand({
            Bucket: bucket,
            Delete: {
              Quiet: true,
              Objects: batch.map(({ key, versionId }) => ({ Key: key, VersionId: versionId })),
            },
          }),
          { abortSignal: signal },
        ),
    );
    for (const { Key = "", VersionId = "", Code = "Unknown", Message = Code } of Errors) {
      if (Code === "NoSuchVersion" || Code === "NoSuchKey") continue;
      failures.push(
        new HawserError(
          Code === "AccessDenied" ? "access_denied" : "store_failed",
          `Version ${VersionId} of ${formatS3(store.bucket, Key)} cannot be removed: ${Message}.`,
          { s3Code: Code },
        ),
      );
    }
  }
  return failures;
}

/**
 * Makes an old version the present one again, by a copy on the server; without a version id, the newest that is not a
 * removal. Where the newest is a removal and that version is the one before it, the removal itself is taken back.
 *
 * @returns what was done
 * @throws HawserError `not_found` when there is no such version
 */
export async function restoreVersion(
  store: S3Store,
  key: string,
  versionId?: string,
  signal?: AbortSignal,
): Promise<{ versionId: string; how: "present" | "removal" | "copy" }> {
  const versions = await versionsOf(store, key, signal);
  const wanted = versions.find((version) =>
    versionId === undefined ? !version.isDeleteMarker : version.versionId === versionId,
  );
  const place = formatS3(store.bucket, key);
  if (!wanted) {
    const which = versionId === undefined ? "Every version" : `Version ${versionId}`;
    throw new HawserError(
      "not_found",
      versionId === undefined ? `${which} of ${place} is a removal.` : `${which} of ${place} is not there.`,
    );
  }
  if (wanted.isDeleteMarker) {
    throw new HawserError("invalid_argument", `Version ${wanted.versionId} of ${place} is a removal.`);
  }
  if (wanted.isLatest) return { versionId: wanted.versionId, how: "present" };
  const newer = versions.slice(0, versions.indexOf(wanted));
  if (newer.every(({ isDeleteMarker }) => isDeleteMarker)) {
    const [failure] = await removeVersions(store, newer, signal);
    if (failure) throw failure;
    return { versionId: wanted.versionId, how: "removal" };
  }
  const copied = await store.copy({ key, versionId: wanted.versionId }, key, { reason: "bulk", signal });
  return { versionId: copied.versionId ?? wanted.versionId, how: "copy" };
}
