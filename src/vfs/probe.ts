/**
 * Probe: what one name is, asked of the store by itself.
 *
 * A LIST of the name as prefix tells object and folder at once, where a HEAD would need a second request for the
 * folder. Only names that many others begin with (`a` beside `a-1`, `a-2`, …, which sort before `a/`) need another.
 */
import { compareKeys } from "../store/key-order.ts";
import type { ListedObject, ObjectStore } from "../store/object-store.ts";

/** Enough for the object, the folder and a neighbour or two; stores bill and answer small pages fastest. */
const PROBE_KEYS = 4;

/** @returns what the key names; undefined when it names nothing */
export async function probeName(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<ListedObject | "folder" | undefined> {
  const options = { reason: "demand", signal } as const;
  const folderKey = `${key}/`;
  const page = await store.list({ prefix: key, delimiter: "/", maxKeys: PROBE_KEYS }, options);
  if (page.prefixes.includes(folderKey)) return "folder";
  const object = page.objects.find((candidate) => candidate.key === key);
  const passed = [...page.objects.map((candidate) => candidate.key), ...page.prefixes].some(
    (listed) => compareKeys(listed, folderKey) > 0,
  );
  if (page.nextToken === undefined || passed) return object;
  const below = await store.list({ prefix: folderKey, maxKeys: 1 }, options);
  return below.objects.length > 0 ? "folder" : object;
}
