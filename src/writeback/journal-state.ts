/** JournalState: what replaying the journal gives, and the records that give it again. */
import type { EpochMs } from "../common/units.ts";
import { FileEntry } from "./file-entry.ts";
import type { Item, JournalRecord } from "./records.ts";

/** Content that may have appeared under a key where it does not belong. */
export interface Stray {
  readonly uuid: string;
  readonly n: number;
  readonly key: string;
}

/** A multipart upload that was to be begun, of which it is not known whether it was. */
export interface Beginning {
  readonly id: number;
  readonly key: string;
  /** No two of a key are noted at the same time. */
  readonly at: EpochMs;
}

export class JournalState {
  bootId: string | undefined;
  /** Random, for the journal's life: what this volume's upload ids begin with. */
  volumeId: string | undefined;
  readonly files = new Map<number, FileEntry>();
  readonly items = new Map<number, Item>();
  /** Multiparts to be aborted, with their keys. */
  readonly abandoned = new Map<string, string>();
  /** Multiparts of copies on the server that are under way. */
  readonly copying = new Map<string, string>();
  /** They may outlive their files. */
  readonly begins = new Map<string, Beginning>();
  readonly strays = new Map<string, Stray>();
  /** Folders that are there no more, while items are to be done: the bucket may still show them. */
  readonly goneFolders = new Set<string>();
  nextId = 1;
  nextSeq = 1;

  apply(record: JournalRecord): void {
    switch (record.t) {
      case "boot":
        this.bootId = record.boot;
        this.volumeId = record.volume;
        return;
      case "ids":
        this.nextId = Math.max(this.nextId, record.id);
        this.nextSeq = Math.max(this.nextSeq, record.seq);
        return;
      case "stage":
        this.files.set(record.id, new FileEntry(record));
        this.nextId = Math.max(this.nextId, record.id + 1);
        return;
      case "keys":
        for (const [id, key, base] of record.keys) {
          const entry = this.files.get(id);
          if (entry) [entry.key, entry.base, entry.hidden] = [key, base, undefined];
        }
        return;
      case "drop":
        this.#forget(record.id);
        return;
      case "copying":
        this.copying.set(record.mp, record.key);
        return;
      case "orphan":
        this.copying.delete(record.mp);
        this.abandoned.set(record.mp, record.key);
        return;
      case "aborted":
        this.copying.delete(record.mp);
        this.abandoned.delete(record.mp);
        return;
      case "begun":
        this.begins.delete(beginName(record));
        return;
      case "stray":
        this.strays.set(strayName(record), { uuid: record.uuid, n: record.n, key: record.key });
        return;
      case "cleared":
        this.strays.delete(strayName(record));
        return;
      case "item":
        this.items.set(record.seq, record.item);
        this.nextSeq = Math.max(this.nextSeq, record.seq + 1);
        return;
      case "done":
        this.items.delete(record.seq);
        if (this.items.size === 0) this.goneFolders.clear();
        return;
      case "folders":
        for (const key of record.gone) this.goneFolders.add(key);
        for (const key of record.back) this.goneFolders.delete(key);
        return;
      case "begin": {
        const { id, key, at } = record;
        this.begins.set(beginName(record), { id, key, at });
        return;
      }
      case "multipart":
        this.#abandonMultipart(record.id);
        break;
      case "abandon":
        if (this.files.get(record.id)?.multipart?.mp === record.mp) this.#abandonMultipart(record.id);
        break;
      case "seal":
        this.nextSeq = Math.max(this.nextSeq, record.seq + 1);
        break;
      case "local":
      case "fetched":
      case "lost":
      case "own":
      case "flush":
      case "tear":
      case "open":
      case "kept":
      case "meta":
      case "times":
      case "recover":
      case "base":
      case "turn":
      case "synced":
      case "part":
      case "uploaded":
    }
    this.files.get(record.id)?.apply(record);
  }

  *records(): Generator<JournalRecord> {
    if (this.bootId !== undefined && this.volumeId !== undefined) {
      yield { t: "boot", boot: this.bootId, volume: this.volumeId };
    }
    yield { t: "ids", id: this.nextId, seq: this.nextSeq };
    for (const entry of this.files.values()) yield* entry.records();
    for (const beginning of this.begins.values()) yield { t: "begin", n: 0, ...beginning };
    for (const [mp, key] of this.copying) yield { t: "copying", mp, key };
    for (const [mp, key] of this.abandoned) yield { t: "orphan", mp, key };
    for (const stray of this.strays.values()) yield { t: "stray", ...stray };
    for (const [seq, item] of this.items) yield { t: "item", seq, item };
    if (this.items.size > 0 && this.goneFolders.size > 0)
      yield { t: "folders", gone: [...this.goneFolders], back: [] };
  }

  #forget(id: number): void {
    this.#abandonMultipart(id);
    this.files.delete(id);
  }

  #abandonMultipart(id: number): void {
    const multipart = this.files.get(id)?.multipart;
    if (multipart) this.abandoned.set(multipart.mp, multipart.key);
  }
}

/** What tells a beginning from others. */
export function beginName({ key, at }: Pick<Beginning, "key" | "at">): string {
  return `${at}@${key}`;
}

function strayName({ uuid, n, key }: Stray): string {
  return `${uuid}-${n}@${key}`;
}
