/**
 * Keys and paths.
 *
 * S3 has keys, not folders: a path is a key below the volume's prefix whose components can be file names. Every key
 * either maps to exactly one path or is unreachable for a stated reason; none is dropped silently. Unreachable are
 *
 * - components that are empty, `.` or `..` (a path walk would never ask for them);
 * - components over 255 bytes, or with a NUL;
 * - text that is not UTF-8: lone surrogates, and U+FFFD, which is what undecodable bytes were turned into on the way;
 * - an object whose name is also a folder's (`a` beside `a/b`): the folder wins, or everything below it would be lost;
 * - the content of a folder marker (`dir/` with bytes in it): it is a folder, which has no bytes.
 */
import { HawserError } from "../common/errors.ts";
import { isPathText, nameProblem } from "../common/file-name.ts";
import type { NameProblem } from "../common/file-name.ts";
import { utf8Length } from "../common/utf8.ts";

export { NAME_MAX, nameProblem } from "../common/file-name.ts";

/** Longest key of S3, in bytes. */
export const KEY_MAX = 1024;

/** Why a key has no path. */
export type UnreachableReason = NameProblem | "shadowed_by_folder" | "marker_with_content";

/** A key of the bucket that no path leads to. */
export interface UnreachableKey {
  key: string;
  reason: UnreachableReason;
}

/**
 * The prefix as used in requests: empty, or ending in one `/` that was added when it was missing, so that `imagenet`
 * never matches `imagenet-old/`. Anything else stays: a prefix such as `logs//` reaches keys that are else unreachable.
 *
 * @throws HawserError `invalid_argument` when it can be no key
 */
export function normalizePrefix(prefix: string): string {
  if (prefix === "") return "";
  if (!isPathText(prefix)) {
    throw new HawserError("invalid_argument", "The prefix is not valid UTF-8 text without NUL.");
  }
  return prefix.endsWith("/") ? prefix : `${prefix}/`;
}

/** Where a key leads: `names` from the volume's root, and whether it marks a folder (it ends in `/`). */
export type KeyPath =
  | { reachable: true; names: string[]; folder: boolean }
  | { reachable: false; reason: UnreachableReason };

/**
 * Maps a key to its path, looking at this key alone (shadowing needs its neighbours: see `findUnreachableKeys`).
 *
 * @param prefix as `normalizePrefix` returns it
 * @returns undefined when the key is not below the prefix
 */
export function keyToPath(prefix: string, key: string): KeyPath | undefined {
  if (!key.startsWith(prefix)) return undefined;
  const rest = key.slice(prefix.length);
  if (rest === "") return { reachable: true, names: [], folder: true };
  const folder = rest.endsWith("/");
  const names = (folder ? rest.slice(0, -1) : rest).split("/");
  for (const name of names) {
    const reason = nameProblem(name);
    if (reason) return { reachable: false, reason };
  }
  return { reachable: true, names, folder };
}

/** The key of the object at a path; the inverse of `keyToPath`. */
export function pathToKey(prefix: string, names: readonly string[], folder = false): string {
  if (names.length === 0) return prefix;
  return prefix + names.join("/") + (folder ? "/" : "");
}

/** True when every sibling called `name`, be it a file or a folder, comes before `rest` in a listing. */
export function isBefore(name: string, rest: string): boolean {
  // `rest` comes after `name`. Up to `name + "/"` a folder of the same name may still come.
  if (!rest.startsWith(name)) return true;
  return rest.charCodeAt(name.length) > 0x2f;
}

/** @throws HawserError `name_too_long` when no object can have this key */
export function checkKey(key: string): void {
  if (key.length * 3 > KEY_MAX && utf8Length(key) > KEY_MAX)
    throw new HawserError("name_too_long", `The path is longer than the ${KEY_MAX} bytes of a key.`);
}
