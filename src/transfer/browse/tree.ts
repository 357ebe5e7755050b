/** A tree of folders, drawn as it is listed: one folder's entries at a time, the rest stays in the bucket. */
import type { Bytes } from "../../common/units.ts";
import type { ListedObject, ObjectStore } from "../../store/object-store.ts";
import { listPages } from "../listing.ts";
import { inOrder } from "./entries.ts";

export interface TreeOptions {
  /** Levels below the top; any number when absent. */
  maxDepth?: number | undefined;
  foldersOnly?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface TreeLine {
  /** `│   ├── `. */
  rule: string;
  name: string;
  /** Full key; ends in a slash for folders. */
  key: string;
  /** Absent for folders. */
  sizeBytes?: Bytes | undefined;
}

/** The lines below a folder. @param folder key that ends in a slash, or empty */
export async function* treeLines(
  store: ObjectStore,
  folder: string,
  options: TreeOptions = {},
  above = "",
  depth = 1,
): AsyncGenerator<TreeLine> {
  let held: ListedObject | string | undefined;
  for await (const entry of entriesIn(store, folder, options)) {
    if (held !== undefined) yield* lines(store, held, false, { folder, above, depth }, options);
    held = entry;
  }
  if (held !== undefined) yield* lines(store, held, true, { folder, above, depth }, options);
}

async function* entriesIn(
  store: ObjectStore,
  folder: string,
  { foldersOnly, signal }: TreeOptions,
): AsyncGenerator<ListedObject | string> {
  for await (const { objects, prefixes } of listPages(store, folder, { delimiter: "/", signal })) {
    // A folder's own marker is the folder.
    const shown = foldersOnly ? [] : objects.filter(({ key }) => key !== folder);
    yield* inOrder({ objects: shown, folders: prefixes });
  }
}

async function* lines(
  store: ObjectStore,
  entry: ListedObject | string,
  last: boolean,
  { folder, above, depth }: { folder: string; above: string; depth: number },
  options: TreeOptions,
): AsyncGenerator<TreeLine> {
  const rule = `${above}${last ? "└── " : "├── "}`;
  if (typeof entry !== "string") {
    yield { rule, name: entry.key.slice(folder.length), key: entry.key, sizeBytes: entry.sizeBytes };
    return;
  }
  yield { rule, name: entry.slice(folder.length), key: entry };
  if (options.maxDepth !== undefined && depth >= options.maxDepth) return;
  yield* treeLines(store, entry, options, `${above}${last ? "    " : "│   "}`, depth + 1);
}
