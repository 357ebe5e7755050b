/**
 * Refresh: forgets what listings have told, for somebody who knows that the bucket has changed.
 *
 * What this mount itself has pending stays. The kernel is told to forget the names, so that the next look at any of
 * them comes here; open files stay open on the version that they have.
 */
import type { Kernel, NodeId } from "./filesystem.ts";
import { Flag, Word } from "./inode-segment.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

/** @param path below the volume's root; empty for all of it @returns names that the kernel was told to forget */
export async function refreshNames(
  path: string,
  parts: VolumeParts,
  kernel: Kernel | undefined,
): Promise<number> {
  const { tree, lister } = parts;
  const row = nearest(path, parts);
  const names: { parent: NodeId; name: Uint8Array }[] = [];
  const tell = (child: Row): void => {
    if (tree.table.get(child, LOOKUPS) === 0 || child === ROOT_ROW) return;
    const name = tree.table.nameBytes(child).slice();
    names.push({ parent: tree.table.nodeId(tree.parent(child)), name });
  };
  forget(row, parts, tell);
  if (row !== ROOT_ROW) tree.setFreshUntil(tree.parent(row), 0);
  lister.restart();
  for (const { parent, name } of names) await kernel?.invalidateEntry(parent, name);
  return names.length;
}

/** The word that counts the kernel's references. */
const LOOKUPS = Word.lookups;

/** The row at the path, or of the last folder on the way that is known. */
function nearest(path: string, { tree }: VolumeParts): Row {
  let row: Row = ROOT_ROW;
  for (const name of path.split("/").filter(Boolean)) {
    const next = tree.isFolder(row) ? tree.find(row, name) : NO_ROW;
    if (next === NO_ROW || tree.isDead(next)) break;
    row = next;
  }
  return row;
}

function forget(row: Row, parts: VolumeParts, tell: (row: Row) => void): void {
  const { tree, metadata } = parts;
  tell(row);
  tree.doubt(row);
  if (!tree.isPending(row)) metadata.forget(row);
  if (!tree.isFolder(row)) {
    // Its version is asked for by itself, whatever its folder's listing says.
    if (!tree.isPending(row)) tree.table.setFlag(row, Flag.suspect, true);
    return;
  }
  tree.setFreshUntil(row, 0);
  for (let child = tree.firstChild(row); child !== NO_ROW; child = tree.nextSibling(child)) {
    if (!tree.isDead(child)) forgetBelow(child, parts, tell);
  }
}

/** Names below the one asked about: their folders' listings tell anew. */
function forgetBelow(row: Row, parts: VolumeParts, tell: (row: Row) => void): void {
  if (parts.tree.isFolder(row)) return forget(row, parts, tell);
  parts.tree.doubt(row);
  tell(row);
}
