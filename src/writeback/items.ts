/**
 * Items: the deletes, moves, metadata changes and markers that are not done yet.
 *
 * A delete that has not begun and is followed by a new file under the key becomes an overwrite; chmod, chown and utimes
 * in a row become one change of metadata. Only what is the last to be done about a key is folded. What a move or a change
 * of metadata makes has a new ETag: whoever meant the old one means the new one from then on.
 */
import type { ObjectVersion } from "../cache/content.ts";
import type { HawserError } from "../common/errors.ts";
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import { ItemWork } from "./item-work.ts";
import type { ItemHost } from "./item-work.ts";
import type { Item } from "./records.ts";
import type { Base } from "./verdict.ts";

export interface ItemsHost extends Pick<ItemHost, "sources"> {
  nextSeq(): number;
  /** A staged file that was made from the first is made from the second. */
  rebase(from: { key: string; etag: string }, to: ObjectVersion): void;
}

export class Items implements ItemHost {
  readonly sources: CopySources;
  readonly #context: Context;
  readonly #host: ItemsHost;
  readonly #works = new Map<number, ItemWork>();
  /** Removes by key that nothing else under the key comes after, for folding. */
  readonly #removes = new Map<string, ItemWork[]>();
  /** The last change of metadata by key, for folding. */
  readonly #metas = new Map<string, ItemWork>();

  constructor(context: Context, host: ItemsHost) {
    this.#context = context;
    this.#host = host;
    this.sources = host.sources;
  }

  get size(): number {
    return this.#works.size;
  }

  works(): Iterable<ItemWork> {
    return this.#works.values();
  }

  /** Resolves when it is journaled. */
  async add(item: Item, after?: Promise<void>): Promise<void> {
    if (this.#foldMeta(item)) return await this.#context.journal.flush();
    const seq = this.#host.nextSeq();
    this.#context.journal.add({ t: "item", seq, item });
    this.start(seq, item, after);
    await this.#context.journal.flush();
  }

  /** Puts a journaled item into the queue. */
  start(seq: number, item: Item, after?: Promise<void>): void {
    const work = new ItemWork(this.#context, this, seq, item, after);
    this.#works.set(seq, work);
    this.#context.moves.add(seq, item);
    if (item.kind === "remove") this.#removes.set(item.key, [...(this.#removes.get(item.key) ?? []), work]);
    else for (const key of work.keys) this.#removes.delete(key);
    if (item.kind === "meta") this.#metas.set(item.version.key, work);
    this.#context.queue.add(work);
  }

  /**
   * A change of metadata that has not begun: another one takes its place, and what is deleted needs none.
   *
   * @returns true when nothing is to be added
   */
  #foldMeta(item: Item): boolean {
    if (item.kind !== "meta" && item.kind !== "remove") return false;
    const { key, etag } = item.kind === "meta" ? item.version : item;
    const work = this.#metas.get(key);
    if (!work || work.acted || work.item.kind !== "meta") return false;
    const { version, uuid } = work.item;
    if (version.etag !== etag) return false;
    if (item.kind === "remove") {
      work.cancel();
      return false;
    }
    work.item = { ...item, uuid };
    this.#context.journal.add({ t: "item", seq: work.seq, item: work.item });
    return true;
  }

  /**
   * A file takes a key where a delete has not begun: it replaces what was to be deleted, which the filesystem has
   * forgotten.
   *
   * @returns its base then
   */
  fold(key: string): Base | undefined {
    const works = this.#removes.get(key);
    this.#removes.delete(key);
    const etags = new Set(works?.map(({ item }) => (item.kind === "remove" ? item.etag : undefined)));
    if (!works) return undefined;
    // Under way, or of two versions, of which nobody knows which is there: they come before the file.
    if (etags.size > 1 || works.some(({ acted }) => acted)) return { kind: "absent" };
    for (const work of works) work.cancel();
    const [etag] = etags;
    return etag === undefined ? { kind: "any" } : { kind: "version", etag };
  }

  renewed(after: number, from: { key: string; etag: string }, to: ObjectVersion): void {
    const { moves, journal } = this.#context;
    for (const work of this.#works.values()) {
      if (work.seq <= after) continue;
      const item = meaning(work.item, from, to);
      if (item === work.item) continue;
      moves.remove(work.seq, work.item);
      work.item = item;
      moves.add(work.seq, item);
      journal.add({ t: "item", seq: work.seq, item });
      // What it is to become was known by the old ETag as well.
      if (item.kind === "move")
        this.renewed(work.seq, { key: item.toKey, etag: from.etag }, { ...to, key: item.toKey });
    }
    this.#host.rebase(from, to);
  }

  failed(work: ItemWork, error: HawserError): void {
    this.#context.logger.error({ err: error, key: work.key }, "a change waits for 'hawser flush'");
  }

  ended(work: ItemWork): void {
    this.#works.delete(work.seq);
    this.#forgetRemove(work);
    if (this.#metas.get(work.key) === work) this.#metas.delete(work.key);
    this.#context.moves.remove(work.seq, work.item);
    this.#context.journal.add({ t: "done", seq: work.seq });
    if (work.acted && work.item.kind !== "meta") this.#context.events?.settled(work.keys);
  }

  #forgetRemove(work: ItemWork): void {
    const left = this.#removes.get(work.key)?.filter((other) => other !== work) ?? [];
    if (left.length > 0) this.#removes.set(work.key, left);
    else this.#removes.delete(work.key);
  }
}

/** The item after an object has become another. */
function meaning(item: Item, from: { key: string; etag: string }, to: { key: string; etag: string }): Item {
  switch (item.kind) {
    case "remove":
      return item.key === from.key && item.etag === from.etag ? { ...item, etag: to.etag } : item;
    case "move":
    case "meta": {
      const { version } = item;
      const isIt = version.key === from.key && version.etag === from.etag;
      return isIt ? { ...item, version: { ...version, etag: to.etag, versionId: undefined } } : item;
    }
    case "mark":
      return item;
  }
}
