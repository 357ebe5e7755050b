/**
 * Rekeying: staged files that change their keys, by renames and exchanges.
 *
 * What may yet appear under the old keys is noted before the files leave them, and the files take over what is to be
 * removed at the new ones. All of it is journaled in one turn of the event loop: a crash leaves all of it or none.
 */
import { HawserError } from "../common/errors.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import type { FileLife } from "./file-life.ts";
import type { Items } from "./items.ts";
import { prepareOverlay } from "./prepared-overlay.ts";
import type { PreparedOverlay } from "./prepared-overlay.ts";
import type { JournalRecord } from "./records.ts";
import { LocalStaged } from "./staged-file.ts";
import type { Base } from "./verdict.ts";
import type { Exchanged, Rekeyed, StagedFile } from "./write-back.ts";

/** Of a folder that was renamed: a record of the log has an end. */
const KEYS_OF_A_RECORD = 5_000;

/** What Rekeying asks of the owner of all files. */
export interface RekeyingHost {
  readonly sources: CopySources;
  find(key: string): LocalStaged | undefined;
  /** The staged file, where it is somebody's. */
  own(file: StagedFile): LocalStaged | undefined;
  /** The file has its key. */
  register(file: LocalStaged): void;
  /** Nobody has the key. */
  leaves(key: string): void;
  uuidOf(id: number): string;
}

export class Rekeying {
  readonly #context: Context;
  readonly #life: FileLife;
  readonly #items: Items;
  readonly #host: RekeyingHost;

  constructor(context: Context, life: FileLife, items: Items, host: RekeyingHost) {
    this.#context = context;
    this.#life = life;
    this.#items = items;
    this.#host = host;
  }

  async rekey(renames: readonly Rekeyed[]): Promise<void> {
    const moved: { file: LocalStaged; from: string; key: string; base: Base }[] = [];
    for (const { file, key, base } of renames) {
      const staged = this.#host.own(file);
      if (!staged) throw new HawserError("stale", `${file.key} is not a staged file any more.`);
      if (staged.key !== key) moved.push({ file: staged, from: staged.key, key, base });
    }
    const leaving = new Set(moved.map(({ file }) => file));
    for (const { key } of moved) {
      const there = this.#host.find(key);
      if (there && !leaving.has(there)) throw new HawserError("exists", `${key} has a staged file already.`);
    }
    for (const { file } of moved) {
      if (file.kept) this.#life.end.leaveKey(file.kept);
      this.#life.end.leaveKey(file);
      this.#host.leaves(file.key);
    }
    const places = moved.map(({ file, key, base }) => ({ file, key, ...this.takeOver(key, base) }));
    const keys = places.flatMap(({ file, key, base }) => keysOf(file, key, base));
    for (let at = 0; at < keys.length; at += KEYS_OF_A_RECORD)
      this.#context.journal.add({ t: "keys", keys: keys.slice(at, at + KEYS_OF_A_RECORD) });
    for (const { file, hidden } of places) this.#context.journal.add(...hidden(file));
    for (const { file, from } of moved) this.#hasMoved(file, from);
    this.#host.sources.changed();
    await this.#context.journal.flush();
  }

  /**
   * What a file replaces that takes a key, where the filesystem holds it to be `known`, and the records that say so where
   * that does not know the object: to be journaled with it.
   */
  takeOver(key: string, known: Base): { base: Base; hidden: (file: IdAndKept) => JournalRecord[] } {
    const folded = this.#items.fold(key);
    const base = folded ?? known;
    const isHidden = folded ? folded.kind !== "absent" : base.kind === "any";
    const records = ({ id, kept }: IdAndKept): JournalRecord[] => [
      ...(kept ? records(kept) : []),
      { t: "base", id, base, hidden: true },
    ];
    return { base, hidden: isHidden ? records : () => [] };
  }

  #hasMoved(file: LocalStaged, from: string): void {
    this.#host.register(file);
    // In this order: what was closed before is published before.
    for (const each of [file.kept, file]) {
      if (!each) continue;
      this.#host.sources.add(each);
      this.#life.moved(each, from);
    }
  }

  async exchange(exchanged: readonly Exchanged[], together?: () => void): Promise<StagedFile[]> {
    const { journal, area } = this.#context;
    const overlays = new Map<Exchanged, PreparedOverlay>();
    for (const each of exchanged) {
      const { version } = each;
      // The local files come first: a record without one would be a lost file. Without a record they are swept.
      if (!each.file && version)
        overlays.set(each, await prepareOverlay(area, journal.state.nextId++, version));
    }
    const moved: { file: LocalStaged; from: string; to: Exchanged }[] = [];
    for (const to of exchanged) {
      const file = to.file && this.#host.own(to.file);
      if (to.file && !file) throw new HawserError("stale", `${to.file.key} is not a staged file any more.`);
      if (file) moved.push({ file, from: file.key, to });
    }
    together?.();
    for (const { file } of moved) {
      if (file.kept) this.#life.end.leaveKey(file.kept);
      this.#life.end.leaveKey(file);
      this.#host.leaves(file.key);
    }
    const records: JournalRecord[] = [];
    for (const { file, to } of moved) {
      const { base, hidden } = this.takeOver(to.key, to.base);
      records.push({ t: "keys", keys: keysOf(file, to.key, base) }, ...hidden(file));
    }
    for (const [to, { id, stamp }] of overlays) {
      const uuid = this.#host.uuidOf(id);
      const { base, hidden } = this.takeOver(to.key, to.base);
      const at = this.#context.clock.now();
      records.push({ t: "stage", id, uuid, key: to.key, base, overlay: to.version, meta: to.meta, at });
      records.push(...hidden({ id }));
      records.push({ t: "flush", id, ...stamp }, { t: "synced", id, ...stamp });
    }
    journal.add(...records);
    for (const { file, from } of moved) this.#hasMoved(file, from);
    const made = new Map<Exchanged, LocalStaged>();
    for (const [to, { id, stamp }] of overlays) {
      const file = new LocalStaged(this.#context, this.#life, journal.state.files.get(id)!);
      area.resized(id, stamp.size);
      this.#host.register(file);
      made.set(to, file);
      this.#life.seal(file);
    }
    this.#host.sources.changed();
    await journal.flush();
    return exchanged.map((each) => each.file ?? made.get(each)!);
  }
}

interface IdAndKept {
  readonly id: number;
  readonly kept?: IdAndKept | undefined;
}

/** A file, and what is kept of it, under another key. */
function keysOf(
  file: LocalStaged,
  key: string,
  base: Base,
): (readonly [id: number, key: string, base: Base])[] {
  return [file.kept, file].filter((each) => each !== undefined).map(({ id }) => [id, key, base]);
}
