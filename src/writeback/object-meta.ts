/** What goes with an object's bytes, as it is written and compared. */
import { formatObjectTime, parseObjectTime, wholeMicroseconds } from "../common/object-time.ts";
import type { EpochMs } from "../common/units.ts";
import { KEPT_HEADERS } from "../store/object-store.ts";
import type { ObjectInfo, PutOptions } from "../store/object-store.ts";
import { UPLOAD_ID_METADATA } from "./verdict.ts";
import type { ObjectMeta } from "./write-back.ts";

/** The entry that says when the content was last changed. */
const MTIME = "mtime";

/** The metadata that an object of this file has. */
export function metaWithTime(meta: ObjectMeta, mtimeMs: EpochMs): ObjectMeta {
  return { ...meta, metadata: { ...meta.metadata, [MTIME]: formatObjectTime(mtimeMs) } };
}

/** The time that metadata shows. */
export function timeOf(meta: ObjectMeta): EpochMs | undefined {
  const text = meta.metadata?.[MTIME];
  return text === undefined ? undefined : parseObjectTime(text);
}

/** What goes with the bytes of an object that was found, and the time that it shows. */
export function metaOf({ metadata, contentType, headers }: ObjectInfo): {
  meta: ObjectMeta;
  mtime: EpochMs | undefined;
} {
  const { [MTIME]: _time, [UPLOAD_ID_METADATA]: _id, ...rest } = metadata;
  return {
    meta: { metadata: rest, contentType, ...(headers ? { headers } : {}) },
    mtime: timeOf({ metadata }),
  };
}

export function sameMeta(one: ObjectMeta, other: ObjectMeta): boolean {
  if (one.contentType !== other.contentType) return false;
  if (KEPT_HEADERS.some((name) => one.headers?.[name] !== other.headers?.[name])) return false;
  const names = new Set([...Object.keys(one.metadata ?? {}), ...Object.keys(other.metadata ?? {})]);
  names.delete(MTIME);
  return [...names].every((name) => one.metadata?.[name] === other.metadata?.[name]);
}

export function sameTime(one: EpochMs, other: EpochMs): boolean {
  return wholeMicroseconds(one) === wholeMicroseconds(other);
}

export function putOf(meta: ObjectMeta): Pick<PutOptions, "metadata" | "contentType" | "headers"> {
  return { metadata: { ...meta.metadata }, contentType: meta.contentType, headers: meta.headers };
}
