/**
 * Name index: from (folder, name) to row, by open addressing with linear probing.
 *
 * A slot is two words: the low half of the inode number, which is a hash of the whole path, and the row. Comparing the
 * hash in the slot keeps a probe from touching records that are not the one. Removal shifts later slots back, so there
 * are no tombstones and a table that shrinks in use stays fast.
 */

const FIRST_SLOTS = 1024;
/** Fullest allowed, in eighths: linear probing gets slow beyond. */
const FULLEST = 6;

export class NameIndex {
  #slots = new Uint32Array(FIRST_SLOTS * 2);
  #mask = FIRST_SLOTS - 1;
  #size = 0;

  get byteLength(): number {
    return this.#slots.byteLength;
  }

  get size(): number {
    return this.#size;
  }

  /** The row with this hash for which `matches` is true, or 0. */
  find(hash: number, matches: (row: number) => boolean): number {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot * 2 + 1]!;
      if (row === 0) return 0;
      if (slots[slot * 2] === hash && matches(row)) return row;
    }
  }

  /** Adds a row that is not in the index. */
  add(hash: number, row: number): void {
    if ((this.#size + 1) * 8 > (this.#mask + 1) * FULLEST) this.#resize((this.#mask + 1) * 2);
    this.#place(hash, row);
    this.#size++;
  }

  /** Removes a row; does nothing when it is not in the index. */
  remove(hash: number, row: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let slot = hash & mask;
    while (slots[slot * 2 + 1] !== row) {
      if (slots[slot * 2 + 1] === 0) return;
      slot = (slot + 1) & mask;
    }
    this.#size--;
    // Whatever was pushed past this slot by its own hash moves back into the gap.
    for (let next = (slot + 1) & mask; slots[next * 2 + 1] !== 0; next = (next + 1) & mask) {
      const home = slots[next * 2]! & mask;
      if (((next - home) & mask) < ((next - slot) & mask)) continue;
      slots[slot * 2] = slots[next * 2]!;
      slots[slot * 2 + 1] = slots[next * 2 + 1]!;
      slot = next;
    }
    slots[slot * 2] = 0;
    slots[slot * 2 + 1] = 0;
    if (this.#mask + 1 > FIRST_SLOTS && this.#size * 8 < this.#mask + 1) this.#resize((this.#mask + 1) / 4);
  }

  #place(hash: number, row: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot * 2 + 1] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot * 2] = hash;
    this.#slots[slot * 2 + 1] = row;
  }

  #resize(count: number): void {
    const old = this.#slots;
    const slots = Math.max(count, FIRST_SLOTS);
    this.#slots = new Uint32Array(slots * 2);
    this.#mask = slots - 1;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] !== 0) this.#place(old[i]!, old[i + 1]!);
    }
  }
}
