/**
 * PendingMoves: objects that are to be copied to another key on the server, and are not there yet.
 *
 * A file may be made from such an object under its new key, with the ETag of what it will be made from. Until the copy is
 * made its bytes are read where they still are; that is told here, and forgotten before the old object may go. A name may
 * be moved away and come back: what is to be moved is always older than what it becomes.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { Item } from "./records.ts";

interface PendingMove {
  /** Of the item. */
  readonly seq: number;
  /** Where its bytes are. */
  readonly version: ObjectVersion;
}

export class PendingMoves {
  /** By what they make, in order. */
  readonly #moves = new Map<string, PendingMove[]>();

  add(seq: number, item: Item): void {
    if (item.kind !== "move") return;
    const { version, toKey, copied } = item;
    const name = madeBy(item);
    // Copied before a crash: files that are made from it do not know the copy's ETag yet.
    const move = { seq, version: copied ? { ...version, ...copied, key: toKey } : version };
    this.#moves.set(name, [...(this.#moves.get(name) ?? []), move]);
  }

  /** The copy has been made, or will not be. */
  remove(seq: number, item: Item): void {
    if (item.kind !== "move") return;
    const name = madeBy(item);
    const left = this.#moves.get(name)?.filter((move) => move.seq !== seq) ?? [];
    if (left.length > 0) this.#moves.set(name, left);
    else this.#moves.delete(name);
  }

  /** Where the bytes of a version are now: itself, or what it is still to be copied from. */
  sourceOf(version: ObjectVersion): ObjectVersion {
    let at: PendingMove = { seq: Infinity, version };
    for (let next = this.#before(at); next; next = this.#before(at)) at = next;
    return at.version;
  }

  #before({ seq, version }: PendingMove): PendingMove | undefined {
    return this.#moves.get(nameOf(version))?.findLast((move) => move.seq < seq);
  }
}

function madeBy({ version: { etag }, toKey: key }: Extract<Item, { kind: "move" }>): string {
  return nameOf({ key, etag });
}

function nameOf({ key, etag }: Pick<ObjectVersion, "key" | "etag">): string {
  return `${etag}@${key}`;
}
