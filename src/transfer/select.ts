/** The objects that a source with several of them names: below a prefix, or by a glob, as far as the filter takes them. */
import { HawserError } from "../common/errors.ts";
import { isGlob } from "../common/glob.ts";
import type { ListedObject } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import { formatS3 } from "./address.ts";
import type { S3Address } from "./address.ts";
import type { Filter } from "./filter.ts";
import { folderPrefix, listGlob, listObjects, literalStart } from "./listing.ts";

/**
 * Pages of what `make` makes of each object.
 *
 * @param make gets the object, and the part of its key that its name in the target does not have
 * @throws HawserError `not_found` when there is nothing at all
 */
export async function* selectObjects<T>(
  store: S3Store,
  from: S3Address,
  { filter }: { filter: Filter },
  signal: AbortSignal,
  make: (object: ListedObject, prefix: string) => T,
): AsyncGenerator<T[]> {
  const glob = isGlob(from.key);
  const start = literalStart(from.key);
  const prefix = glob ? start.slice(0, start.lastIndexOf("/") + 1) : folderPrefix(from.key);
  const pages = glob ? listGlob(store, from.key, { signal }) : listObjects(store, prefix, { signal });
  let any = false;
  for await (const page of pages) {
    any = true;
    const made: T[] = [];
    for (const object of page) {
      // The prefix's own marker is the target folder itself.
      if (object.key === prefix || !filter(object.key.slice(prefix.length))) continue;
      made.push(make(object, prefix));
    }
    if (made.length > 0) yield made;
  }
  if (any || signal.aborted) return;
  const what = glob ? "matches" : "is below";
  throw new HawserError("not_found", `Nothing ${what} ${formatS3(from.bucket, glob ? from.key : prefix)}.`);
}
