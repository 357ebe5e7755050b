/** The time that an object's file had when it was uploaded: in its metadata, which only a HEAD shows. */
import { parseObjectTime } from "../common/object-time.ts";
import type { EpochMs } from "../common/units.ts";
import type { ObjectStore } from "../store/object-store.ts";

/** @returns undefined where it has none */
export async function mtimeOfObject(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<EpochMs | undefined> {
  const { metadata } = await store.head(key, { signal, reason: "bulk" });
  const mtime = metadata["mtime"];
  return mtime === undefined ? undefined : parseObjectTime(mtime);
}
