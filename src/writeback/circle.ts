/**
 * Circles: staged files each of which is made from an object that another one of them replaces.
 *
 * A file is not published over an object that another file is still to be copied from. Files that have changed places
 * would so wait for each other; one of them then takes all its bytes to the local disk and is nobody's copy any more.
 */
import type { LocalStaged } from "./staged-file.ts";

/** The key of the object that the file's next content is copied from, where that is not its own. */
function sourceOf({ entry, key, state }: LocalStaged): string | undefined {
  if (state === "published") return undefined;
  const { overlay, uploaded, unchanged } = entry;
  if (overlay && overlay.key !== key && !unchanged.isEmpty) return overlay.key;
  return uploaded && uploaded.key !== key ? uploaded.key : undefined;
}

/** The file's next content is made from an object under this key, which is not its own. */
export function needs({ entry, key: ownKey, state }: LocalStaged, key: string): boolean {
  if (key === ownKey || state === "published") return false;
  const { overlay, uploaded, unchanged } = entry;
  return (overlay?.key === key && !unchanged.isEmpty) || uploaded?.key === key;
}

/** The files that wait for each other, this one first; none when it waits for nobody who waits for it. */
export function circleOf(file: LocalStaged, find: (key: string) => LocalStaged | undefined): LocalStaged[] {
  const circle: LocalStaged[] = [];
  for (let at: LocalStaged | undefined = file; at && !circle.includes(at);) {
    circle.push(at);
    const source = sourceOf(at);
    at = source === undefined ? undefined : find(source);
    if (at === file) return circle;
  }
  return [];
}

/** Who of a circle gives way, as one of them sees it: who has least to fetch, of those that nobody writes. */
export function whoGivesWay(circle: readonly LocalStaged[]): LocalStaged {
  const [self] = circle;
  return circle
    .filter((file) => file === self || file.writers === 0)
    .reduce((least, file) => (costOf(file) < costOf(least) || isTie(file, least) ? file : least));
}

function costOf({ entry }: LocalStaged): number {
  let bytes = 0;
  for (const { start, end } of entry.missing.ranges) bytes += end - start;
  return bytes;
}

function isTie(one: LocalStaged, other: LocalStaged): boolean {
  return costOf(one) === costOf(other) && one.id < other.id;
}
