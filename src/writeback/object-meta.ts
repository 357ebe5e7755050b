/** What goes with an object's bytes, as it is written and compared. */
import { formatObjectTime, parseObjectTime, wholeMicroseconds } from "../common/object-time.ts";
import type { EpochMs } from "../common/units.ts";
import type { PutOptions } from "../store/object-store.ts";
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

export function sameMeta(one: ObjectMeta, other: ObjectMeta): boolean {
  if (one.contentType !== other.contentType) return false;
  const names = new Set([...Object.keys(one.metadata ?? {}), ...Object.keys(other.metadata ?? {})]);
  names.delete(MTIME);
  return [...names].every((name) => one.metadata?.[name] === other.metadata?.[name]);
}

export function sameTime(one: EpochMs, other: EpochMs): boolean {
  return wholeMicroseconds(one) === wholeMicroseconds(other);
}

export function putOf(meta: ObjectMeta): Pick<PutOptions, "metadata" | "contentType"> {
  return { metadata: { ...meta.metadata }, contentType: meta.contentType };
}
