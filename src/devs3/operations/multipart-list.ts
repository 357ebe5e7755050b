/** ListParts and ListMultipartUploads. */
import { checksumElement } from "../checksums.ts";
import { OWNER, type Reply, type RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import type { Upload } from "../state/model.ts";
import { sortKeyOf } from "../state/sorted-keys.ts";
import { xmlDocument } from "../xml.ts";
import { keyEncoding, pageSize } from "./list.ts";

export function listParts(context: RequestContext): Reply {
  const { bucket, key } = context;
  const upload = bucket.uploads.get(context.query("uploadId") ?? "");
  if (!upload || upload.key !== key) throw s3Error("NoSuchUpload");
  const marker = Number(context.query("part-number-marker") ?? 0);
  const maxParts = pageSize(context, "max-parts");
  const behind = [...upload.parts.values()]
    .filter((part) => part.partNumber > marker)
    .sort((a, b) => a.partNumber - b.partNumber);
  const shown = behind.slice(0, maxParts);
  const body = xmlDocument("ListPartsResult", {
    Bucket: bucket.name,
    Key: keyEncoding(context)(key),
    UploadId: upload.uploadId,
    PartNumberMarker: marker,
    NextPartNumberMarker: shown.at(-1)?.partNumber ?? marker,
    MaxParts: maxParts,
    IsTruncated: behind.length > shown.length,
    ChecksumAlgorithm: upload.checksumAlgorithm,
    ChecksumType: upload.checksumType,
    Initiator: OWNER,
    Owner: OWNER,
    StorageClass: upload.storageClass,
    Part: shown.map((part) => ({
      PartNumber: part.partNumber,
      LastModified: new Date(part.mtimeMs).toISOString(),
      ETag: `"${part.etag}"`,
      Size: part.sizeBytes,
      ...(upload.checksumAlgorithm && part.checksum
        ? { [checksumElement(part.checksum.algorithm)]: part.checksum.value }
        : {}),
    })),
  });
  return { status: 200, body };
}

interface Listed {
  upload: Upload;
  sortKey: string;
}

function inOrder(a: Listed, b: Listed): number {
  if (a.sortKey !== b.sortKey) return a.sortKey < b.sortKey ? -1 : 1;
  return a.upload.initiatedMs - b.upload.initiatedMs || (a.upload.uploadId < b.upload.uploadId ? -1 : 1);
}

/** Uploads of a key-marker itself follow only those behind upload-id-marker. */
function behindMarkers(sorted: Listed[], context: RequestContext): Listed[] {
  const keyMarker = context.query("key-marker") ?? "";
  const uploadIdMarker = context.query("upload-id-marker") ?? "";
  if (keyMarker === "") return sorted;
  const marker = sortKeyOf(keyMarker);
  let isPast = uploadIdMarker === "";
  return sorted.filter(({ upload, sortKey }) => {
    if (sortKey !== marker) return sortKey > marker;
    if (uploadIdMarker === "") return false;
    const shown = isPast;
    isPast ||= upload.uploadId === uploadIdMarker;
    return shown;
  });
}

export function listMultipartUploads(context: RequestContext): Reply {
  const { bucket } = context;
  const encode = keyEncoding(context);
  const prefix = context.query("prefix") ?? "";
  const delimiter = context.query("delimiter") ?? "";
  const maxUploads = pageSize(context, "max-uploads");
  if (context.query("upload-id-marker") && !context.query("key-marker")) {
    throw s3Error("InvalidArgument", "upload-id-marker is given without key-marker");
  }
  const sorted = [...bucket.uploads.values()]
    .filter((upload) => upload.key.startsWith(prefix))
    .map((upload) => ({ upload, sortKey: sortKeyOf(upload.key) }))
    .sort(inOrder);
  const shown: Upload[] = [];
  const prefixes: string[] = [];
  let isTruncated = false;
  const keyMarker = context.query("key-marker") ?? "";
  let next = { key: "", uploadId: "" };
  for (const { upload } of behindMarkers(sorted, context)) {
    const cut = delimiter === "" ? -1 : upload.key.indexOf(delimiter, prefix.length);
    const common = cut < 0 ? undefined : upload.key.slice(0, cut + delimiter.length);
    if (common !== undefined && (common === prefixes.at(-1) || common === keyMarker)) continue;
    if (shown.length + prefixes.length === maxUploads) {
      isTruncated = true;
      break;
    }
    if (common === undefined) shown.push(upload);
    else prefixes.push(common);
    next = { key: common ?? upload.key, uploadId: common === undefined ? upload.uploadId : "" };
  }
  const body = xmlDocument("ListMultipartUploadsResult", {
    Bucket: bucket.name,
    KeyMarker: encode(keyMarker),
    UploadIdMarker: context.query("upload-id-marker") ?? "",
    NextKeyMarker: isTruncated ? encode(next.key) : undefined,
    NextUploadIdMarker: isTruncated ? next.uploadId : undefined,
    Delimiter: delimiter === "" ? undefined : encode(delimiter),
    Prefix: encode(prefix),
    EncodingType: context.query("encoding-type"),
    MaxUploads: maxUploads,
    IsTruncated: isTruncated,
    Upload: shown.map((upload) => ({
      Key: encode(upload.key),
      UploadId: upload.uploadId,
      Initiator: OWNER,
      Owner: OWNER,
      StorageClass: upload.storageClass,
      Initiated: new Date(upload.initiatedMs).toISOString(),
      ChecksumAlgorithm: upload.checksumAlgorithm,
      ChecksumType: upload.checksumType,
    })),
    CommonPrefixes: prefixes.map((one) => ({ Prefix: encode(one) })),
  });
  return { status: 200, body };
}
