/**
 * ShownAttributes: what the kernel is told of files on a writable volume, and for how long it may believe it.
 *
 * Of a file that is being changed the staged file knows best, and is asked each time; everything else is in its row and
 * its inode.
 */
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import { fillAttributes, newAttributes, newEntry } from "./attributes.ts";
import type { Attributes, AttributesReply, Entry, NodeId } from "./filesystem.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inode, Inodes } from "./inodes.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

/** What a kernel may believe of a file that is being written: the kernel does not see stores to a mapping itself. */
const CHANGING_TTL_MS: Milliseconds = 1000;

export class ShownAttributes {
  readonly #parts: VolumeParts;
  readonly #inodes: Inodes;

  constructor(parts: VolumeParts, inodes: Inodes) {
    this.#parts = parts;
    this.#inodes = inodes;
  }

  /** An entry with attributes as they are in the staged file. */
  fresh(entry: Entry): Entry {
    const inode = this.#inodes.get(entry.nodeId);
    if (!inode?.touched) return entry;
    this.#inodes.refresh(inode);
    this.#fill(entry.attributes, inode);
    entry.attributeTtlMs = this.ttl(inode, entry.attributeTtlMs);
    return entry;
  }

  /** The entry of a row that has been referred to. */
  entry(row: Row): Entry {
    const { tree, lister, options, metadata } = this.#parts;
    const entry = newEntry();
    entry.nodeId = tree.table.nodeId(row);
    entry.entryTtlMs = lister.ttl(tree.parent(row), row);
    entry.attributeTtlMs = entry.entryTtlMs;
    fillAttributes(entry.attributes, tree, row, options, metadata.get(row));
    return entry;
  }

  /** @throws `stale` */
  of(inode: Inode): AttributesReply {
    this.#inodes.refresh(inode);
    const { tree, lister } = this.#parts;
    const attributes = newAttributes();
    this.#fill(attributes, inode);
    const row = this.#inodes.row(inode);
    const parent = tree.parent(row);
    const ttlMs = parent === NO_ROW ? lister.rootTtl : lister.ttl(parent, row);
    return { attributes, attributeTtlMs: this.ttl(inode, ttlMs) };
  }

  #fill(attributes: Attributes, inode: Inode): void {
    const row = this.#inodes.row(inode);
    if (row === NO_ROW) throw new HawserError("stale", `Node ${inode.nodeId} is not known any more.`);
    fillAttributes(attributes, this.#parts.tree, row, this.#parts.options, inode.metadata);
    if (inode.unlinked) attributes.nlink = 0;
  }

  ttl(inode: Inode, ttlMs: Milliseconds): Milliseconds {
    return inode.touched ? Math.min(ttlMs, CHANGING_TTL_MS) : ttlMs;
  }

  metadataOf(nodeId: NodeId): Inode["metadata"] | undefined {
    const inode = this.#inodes.get(nodeId);
    if (inode) return inode.metadata;
    const row = this.#parts.tree.table.rowOf(nodeId);
    return row === NO_ROW ? undefined : this.#parts.metadata.get(row);
  }
}
