/** What new objects are given: the same for all that one command makes. */
import { contentTypeOf } from "../common/content-type.ts";
import { formatObjectTime } from "../common/object-time.ts";
import type { EpochMs } from "../common/units.ts";
import type { CopyOptions, PutOptions } from "../store/object-store.ts";

export interface ObjectOptions extends Pick<
  PutOptions,
  "storageClass" | "sse" | "sseKmsKeyId" | "acl" | "tags" | "metadata" | "contentType"
> {}

/** For an upload. The file's time goes along in s3fs's form. */
export function uploadOptions(
  options: ObjectOptions,
  name: string,
  mtimeMs: EpochMs | undefined,
): PutOptions & { contentType: string } {
  const { storageClass, sse, sseKmsKeyId, acl, tags, metadata, contentType } = options;
  const time = mtimeMs === undefined ? {} : { mtime: formatObjectTime(mtimeMs) };
  return {
    storageClass,
    sse,
    sseKmsKeyId,
    acl,
    tags,
    metadata: { ...time, ...metadata },
    contentType: contentType ?? contentTypeOf(name.slice(name.lastIndexOf("/") + 1)),
    reason: "bulk",
  };
}

/** For a copy within the store: what is given replaces what the source has, the rest is kept. */
export function objectCopyOptions(options: ObjectOptions, key: string): CopyOptions {
  const { metadata, contentType, ...rest } = options;
  if (metadata === undefined && contentType === undefined) return { ...rest, metadataDirective: "copy" };
  const type = contentType ?? contentTypeOf(key.slice(key.lastIndexOf("/") + 1));
  return { ...rest, metadata: metadata ?? {}, contentType: type, metadataDirective: "replace" };
}
