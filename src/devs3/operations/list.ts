/** ListObjects V1 and V2. */
import { OWNER, type Reply, type RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import type { ObjectVersion } from "../state/model.ts";
import { encodeListing } from "../uri.ts";
import { xmlDocument, type XmlObject } from "../xml.ts";
import { walk, type Line, type WalkQuery } from "./listing.ts";

const PAGE_KEYS = 1000;

/** A count in the query, cut to a page. */
export function pageSize(context: RequestContext, name: string): number {
  const text = context.query(name);
  if (text === undefined || text === "") return PAGE_KEYS;
  const count = Number(text);
  if (!Number.isInteger(count) || count < 0 || count > 2 ** 31 - 1) {
    throw s3Error("InvalidArgument", `Provided ${name} not an integer or within integer range`, {
      elements: { ArgumentName: name, ArgumentValue: text },
    });
  }
  return Math.min(count, PAGE_KEYS);
}

/** How keys are written: as they are, or by encoding-type=url. */
export function keyEncoding(context: RequestContext): (text: string) => string {
  const type = context.query("encoding-type");
  if (type === undefined || type === "") return (text) => text;
  if (type !== "url") throw s3Error("InvalidArgument", "Invalid Encoding Method specified in Request");
  return encodeListing;
}

function contents(version: ObjectVersion, encode: (text: string) => string, withOwner: boolean): XmlObject {
  const { checksum } = version;
  return {
    Key: encode(version.key),
    LastModified: new Date(version.mtimeMs).toISOString(),
    ETag: `"${version.etag}"`,
    ...(checksum ? { ChecksumAlgorithm: checksum.algorithm, ChecksumType: checksum.type } : {}),
    Size: version.sizeBytes,
    ...(withOwner ? { Owner: OWNER } : {}),
    StorageClass: version.storageClass,
  };
}

function page(context: RequestContext, after: WalkQuery["after"], withOwner: boolean) {
  const { bucket } = context;
  const encode = keyEncoding(context);
  const prefix = context.query("prefix") ?? "";
  const delimiter = context.query("delimiter") ?? "";
  const maxKeys = pageSize(context, "max-keys");
  const { lines, isTruncated } = walk(
    bucket,
    { prefix, delimiter, maxKeys, after },
    (entry) => !entry.versions[0]!.isDeleteMarker,
  );
  const last: Line | undefined = lines.at(-1);
  return {
    encode,
    isTruncated,
    last,
    count: lines.length,
    head: {
      Name: bucket.name,
      Prefix: encode(prefix),
      Delimiter: delimiter === "" ? undefined : encode(delimiter),
      MaxKeys: maxKeys,
      EncodingType: context.query("encoding-type"),
      IsTruncated: isTruncated,
    },
    body: {
      Contents: lines.flatMap((line) =>
        "key" in line ? [contents(line.key.versions[0]!, encode, withOwner)] : [],
      ),
      CommonPrefixes: lines.flatMap((line) => ("prefix" in line ? [{ Prefix: encode(line.prefix) }] : [])),
    },
  };
}

export function listObjects(context: RequestContext): Reply {
  const marker = context.query("marker") ?? "";
  const delimiter = context.query("delimiter") ?? "";
  // NextMarker may be a common prefix, and then the next page begins behind all of it.
  const isPrefix = delimiter !== "" && marker.endsWith(delimiter);
  const after = marker === "" ? undefined : isPrefix ? { prefix: marker } : { key: marker };
  const { head, body, last, encode, isTruncated } = page(context, after, true);
  const lastName = last && ("key" in last ? last.key.key : last.prefix);
  return {
    status: 200,
    body: xmlDocument("ListBucketResult", {
      ...head,
      Marker: encode(marker),
      NextMarker: isTruncated && delimiter !== "" ? encode(lastName!) : undefined,
      ...body,
    }),
  };
}

/** A token is opaque to clients: where the page ended, key or prefix. */
function encodeToken(last: Line): string {
  return Buffer.from("key" in last ? `k${last.key.key}` : `p${last.prefix}`, "utf8").toString("base64url");
}

function decodeToken(token: string): WalkQuery["after"] {
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (text.startsWith("k")) return { key: text.slice(1) };
  if (text.startsWith("p")) return { prefix: text.slice(1) };
  throw s3Error("InvalidArgument", "The continuation token provided is incorrect");
}

export function listObjectsV2(context: RequestContext): Reply {
  const token = context.query("continuation-token");
  const startAfter = context.query("start-after");
  if (token === "") throw s3Error("InvalidArgument", "The continuation token provided is incorrect");
  const after = token !== undefined ? decodeToken(token) : startAfter ? { key: startAfter } : undefined;
  const { head, body, last, count, encode, isTruncated } = page(
    context,
    after,
    context.query("fetch-owner") === "true",
  );
  return {
    status: 200,
    body: xmlDocument("ListBucketResult", {
      ...head,
      KeyCount: count,
      ContinuationToken: token,
      NextContinuationToken: isTruncated ? encodeToken(last!) : undefined,
      StartAfter: startAfter === undefined ? undefined : encode(startAfter),
      ...body,
    }),
  };
}
