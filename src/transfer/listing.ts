/**
 * Listings as a source of work: the objects below a prefix or that match a glob, a page at a time, in key order.
 *
 * The next page is asked for while the present one is worked on; pages are never collected, so a million keys take no
 * memory.
 */
import { HawserError } from "../common/errors.ts";
import { globMatcher, isGlob } from "../common/glob.ts";
import { compareKeys } from "../store/key-order.ts";
import type { ListPage, ListedObject, ObjectStore } from "../store/object-store.ts";

export interface ListOptions {
  signal?: AbortSignal | undefined;
  /** Only keys behind this one. */
  startAfter?: string | undefined;
}

/** Pages of a listing with `delimiter`, objects and folders. @throws what the store answers with */
export async function* listPages(
  store: ObjectStore,
  prefix: string,
  options: ListOptions & { delimiter?: "/" | undefined } = {},
): AsyncGenerator<ListPage> {
  const { signal, startAfter, delimiter } = options;
  const ask = (continuationToken: string | undefined): Promise<ListPage> => {
    const asked = store.list(
      { prefix, delimiter, continuationToken, ...(continuationToken === undefined ? { startAfter } : {}) },
      { reason: "bulk", signal },
    );
    // Whoever stops reading early never looks at this one.
    asked.catch(() => undefined);
    return asked;
  };
  let asked: Promise<ListPage> | undefined = ask(undefined);
  while (asked) {
    const page: ListPage = await asked;
    asked = page.nextToken === undefined ? undefined : ask(page.nextToken);
    yield page;
  }
}

/** The same pages, of which the first is asked for now instead of when somebody waits for it. */
export function begun<T>(source: AsyncGenerator<T>): AsyncGenerator<T> {
  const first = source.next();
  first.catch(() => undefined);
  return (async function* () {
    try {
      const { done, value } = await first;
      if (done) return;
      yield value;
      yield* source;
    } finally {
      await source.return(undefined);
    }
  })();
}

/**
 * Every object below a prefix, whatever its depth, by the page.
 *
 * @throws HawserError `store_failed` when the store does not list in key order, which merging depends on
 */
export async function* listObjects(
  store: ObjectStore,
  prefix: string,
  options: ListOptions = {},
): AsyncGenerator<ListedObject[]> {
  let last: string | undefined;
  for await (const { objects } of listPages(store, prefix, options)) {
    const first = objects[0];
    if (!first) continue;
    if (last !== undefined && compareKeys(last, first.key) >= 0) {
      throw new HawserError(
        "store_failed",
        `The store lists '${first.key}' behind '${last}': not in key order.`,
      );
    }
    last = objects[objects.length - 1]!.key;
    yield objects;
  }
}

/** The objects whose key matches a glob: `s3://bucket/logs/*.gz`. */
export async function* listGlob(
  store: ObjectStore,
  glob: string,
  options: ListOptions = {},
): AsyncGenerator<ListedObject[]> {
  const matches = globMatcher(glob);
  for await (const objects of listObjects(store, literalStart(glob), options)) {
    const found = objects.filter(({ key }) => matches(key));
    if (found.length > 0) yield found;
  }
}

/** What every key that a glob matches begins with. */
export function literalStart(glob: string): string {
  const at = glob.search(/[*?[{\\]/);
  return at < 0 ? glob : glob.slice(0, at);
}

/** A prefix as a folder: `data` and `data/` are the same, and never match `data-old/`. */
export function folderPrefix(key: string): string {
  return key === "" || key.endsWith("/") ? key : `${key}/`;
}

export { isGlob };
