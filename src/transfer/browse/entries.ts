/**
 * What `hawser s3 ls` shows: objects and folders of a bucket, by the page.
 *
 * As in a shell, `data` and `data/` are one folder, and neither is `data-old/`. A glob takes what it matches, folders
 * too; with `recursive`, what lies in them as well. No page is kept, so a million keys take no memory.
 */
import { HawserError } from "../../common/errors.ts";
import { globMatcher, isGlob } from "../../common/glob.ts";
import { compareKeys } from "../../store/key-order.ts";
import type { ListPage, ListedObject, ObjectStore } from "../../store/object-store.ts";
import { formatS3 } from "../address.ts";
import type { S3Address } from "../address.ts";
import { folderPrefix, listPages, literalStart } from "../listing.ts";

export interface Entries {
  /** In key order. */
  objects: ListedObject[];
  /** Keys that end in a slash, in key order. */
  folders: string[];
}

export interface EntryOptions {
  recursive?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** @throws HawserError `not_found` when there is nothing of that name; `invalid_argument` for a glob that is none */
export async function* listEntries(
  store: ObjectStore,
  from: S3Address,
  options: EntryOptions = {},
): AsyncGenerator<Entries> {
  const pages = isGlob(from.key)
    ? globEntries(store, from.key, options)
    : nameEntries(store, from.key, options);
  let any = from.key === "";
  for await (const page of pages) {
    if (page.objects.length === 0 && page.folders.length === 0) continue;
    any = true;
    yield page;
  }
  if (any || options.signal?.aborted) return;
  const hint = isGlob(from.key)
    ? ""
    : `; write ${formatS3(from.bucket, from.key)}* for what begins like this`;
  throw new HawserError("not_found", `Nothing is at ${formatS3(from.bucket, from.key)}${hint}.`);
}

/** The folder that names are shown relative to. */
export function shownFolder(key: string, { recursive }: EntryOptions): string {
  if (recursive) return "";
  if (isGlob(key)) return "";
  return key.endsWith("/") ? key : key.slice(0, key.lastIndexOf("/") + 1);
}

async function* nameEntries(
  store: ObjectStore,
  key: string,
  { recursive, signal }: EntryOptions,
): AsyncGenerator<Entries> {
  const delimiter = recursive ? undefined : ("/" as const);
  if (key !== "" && !key.endsWith("/")) {
    const { objects } = await store.list({ prefix: key, maxKeys: 1 }, { reason: "bulk", signal });
    const object = objects[0]?.key === key ? objects : [];
    if (object.length > 0) yield { objects: object, folders: [] };
  }
  const pages = listPages(store, folderPrefix(key), { signal, delimiter });
  for await (const page of pages) yield entriesOf(page);
}

async function* globEntries(
  store: ObjectStore,
  glob: string,
  { recursive, signal }: EntryOptions,
): AsyncGenerator<Entries> {
  const start = literalStart(glob);
  const pattern = glob.replace(/\/+$/, "");
  const matches = globMatcher(pattern);
  const matchesOrIn = (key: string): boolean => {
    if (matches(key)) return true;
    for (let at = key.indexOf("/", start.length); at >= 0; at = key.indexOf("/", at + 1)) {
      if (matches(key.slice(0, at))) return true;
    }
    return false;
  };
  // A glob within the last name needs one level of the listing only.
  const flat = !recursive && !pattern.slice(start.length).includes("/") && !pattern.includes("**");
  for await (const page of listPages(store, start, {
    signal,
    ...(flat ? { delimiter: "/" as const } : {}),
  })) {
    yield {
      objects: page.objects.filter(({ key }) => (recursive ? matchesOrIn(key) : matches(key))),
      folders: page.prefixes.filter((folder) => matches(folder.slice(0, -1))),
    };
  }
}

function entriesOf({ objects, prefixes }: ListPage): Entries {
  return { objects, folders: prefixes };
}

/** Objects and folders of a page as one sequence, in key order. */
export function* inOrder({ objects, folders }: Entries): Generator<ListedObject | string> {
  let at = 0;
  for (const object of objects) {
    while (at < folders.length && compareKeys(folders[at]!, object.key) < 0) yield folders[at++]!;
    yield object;
  }
  yield* folders.slice(at);
}
