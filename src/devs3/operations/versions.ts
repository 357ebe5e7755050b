/** ListObjectVersions. */
import { OWNER, type Reply, type RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import type { KeyEntry } from "../state/bucket.ts";
import type { ObjectVersion } from "../state/model.ts";
import { sortKeyOf } from "../state/sorted-keys.ts";
import { xmlDocument, type XmlObject } from "../xml.ts";
import { keyEncoding, pageSize } from "./list.ts";
import { walk, type Line } from "./listing.ts";

interface Shown {
  version: ObjectVersion;
  isLatest: boolean;
}

/** Versions of one key behind a version, newest first. */
function versionsAfter(entry: KeyEntry, versionIdMarker: string): Shown[] {
  const all = entry.versions.map((version, i) => ({ version, isLatest: i === 0 }));
  const at = all.findIndex(({ version }) => version.versionId === versionIdMarker);
  return versionIdMarker === "" ? all : at < 0 ? [] : all.slice(at + 1);
}

function describe({ version, isLatest }: Shown, encode: (text: string) => string): XmlObject {
  const common = {
    Key: encode(version.key),
    VersionId: version.versionId,
    IsLatest: isLatest,
    LastModified: new Date(version.mtimeMs).toISOString(),
    Owner: OWNER,
  };
  if (version.isDeleteMarker) return common;
  return {
    ...common,
    ETag: `"${version.etag}"`,
    Size: version.sizeBytes,
    StorageClass: version.storageClass,
  };
}

export function listObjectVersions(context: RequestContext): Reply {
  const { bucket } = context;
  const encode = keyEncoding(context);
  const prefix = context.query("prefix") ?? "";
  const delimiter = context.query("delimiter") ?? "";
  const keyMarker = context.query("key-marker") ?? "";
  const versionIdMarker = context.query("version-id-marker") ?? "";
  const maxKeys = pageSize(context, "max-keys");
  if (versionIdMarker !== "" && keyMarker === "") {
    throw s3Error("InvalidArgument", "A version-id marker cannot be specified without a key marker.");
  }

  const shown: Shown[] = [];
  const prefixes: string[] = [];
  let isTruncated = false;
  let next = { key: "", versionId: "" };
  /** @returns false when the page is full */
  const show = (entry: KeyEntry, after: string): boolean => {
    for (const one of versionsAfter(entry, after)) {
      if (shown.length + prefixes.length === maxKeys) return false;
      shown.push(one);
      next = { key: entry.key, versionId: one.version.versionId };
    }
    return true;
  };

  const marked = keyMarker === "" || versionIdMarker === "" ? undefined : bucket.entry(keyMarker);
  if (marked?.sortKey.startsWith(sortKeyOf(prefix)) && !show(marked, versionIdMarker)) isTruncated = true;
  const isPrefix = delimiter !== "" && keyMarker.endsWith(delimiter);
  const after = keyMarker === "" ? undefined : isPrefix ? { prefix: keyMarker } : { key: keyMarker };
  // One line more than a page tells whether there is more; a key's versions may fill the page before its lines do.
  const { lines } = isTruncated
    ? { lines: [] as Line[] }
    : walk(bucket, { prefix, delimiter, maxKeys: maxKeys + 1, after }, () => true);
  for (const line of lines) {
    if (shown.length + prefixes.length === maxKeys || ("key" in line && !show(line.key, ""))) {
      isTruncated = maxKeys > 0;
      break;
    }
    if ("key" in line) continue;
    prefixes.push(line.prefix);
    next = { key: line.prefix, versionId: "" };
  }

  // Versions and delete markers keep one common order, which consecutive elements of two names could not show.
  const body = xmlDocument("ListVersionsResult", {
    Name: bucket.name,
    Prefix: encode(prefix),
    KeyMarker: encode(keyMarker),
    VersionIdMarker: versionIdMarker,
    NextKeyMarker: isTruncated ? encode(next.key) : undefined,
    NextVersionIdMarker: isTruncated && next.versionId !== "" ? next.versionId : undefined,
    MaxKeys: maxKeys,
    Delimiter: delimiter === "" ? undefined : encode(delimiter),
    EncodingType: context.query("encoding-type"),
    IsTruncated: isTruncated,
    "#": shown.map((one) => ({
      [one.version.isDeleteMarker ? "DeleteMarker" : "Version"]: describe(one, encode),
    })),
    CommonPrefixes: prefixes.map((one) => ({ Prefix: encode(one) })),
  });
  return { status: 200, body };
}
