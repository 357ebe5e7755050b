/**
 * IndexReplay: rebuilds the entries from the records of a log.
 *
 * Records of files that were never entered, or were removed, say nothing. What was written under another boot of the
 * machine after its last clean point becomes suspect.
 */
import type { Bytes } from "../common/units.ts";
import { DiskEntry } from "./disk-entry.ts";
import type { BlockRun, EntryIdentity, IndexRecord } from "./index-record.ts";

export class IndexReplay {
  highestFileId = 0;
  readonly #bootId: string;
  readonly #byId = new Map<number, DiskEntry>();
  readonly #byFingerprint = new Map<string, DiskEntry>();
  #order: Uint32Array = new Uint32Array(0);
  #sameBoot = false;
  /** Entries written under another boot: before the last mark, and since. */
  #beforeMark = new Set<DiskEntry>();
  #sinceMark = new Set<DiskEntry>();
  #mark = 0;

  constructor(bootId: string) {
    this.#bootId = bootId;
  }

  take(record: IndexRecord, bytes: Bytes): void {
    switch (record.kind) {
      case "entry":
        this.#entry(record.identity, record.runs, bytes);
        break;
      case "blocks":
        this.#blocks(this.#byId.get(record.fileId), record.runs, bytes);
        break;
      case "dropped": {
        const entry = this.#byId.get(record.fileId);
        const end = Math.min(record.first + record.count, entry?.blocks ?? 0);
        for (let block = record.first; block < end; block++) entry?.drop(block);
        break;
      }
      case "removed":
        this.#remove(this.#byId.get(record.fileId));
        break;
      case "exposed": {
        const entry = this.#byId.get(record.fileId);
        if (entry) entry.exposed = true;
        break;
      }
      case "session":
        this.#sameBoot = record.bootId === this.#bootId;
        break;
      case "mark":
        this.#mark = record.number;
        for (const entry of this.#sinceMark) this.#beforeMark.add(entry);
        this.#sinceMark.clear();
        break;
      case "clean":
        if (record.number === this.#mark) this.#beforeMark.clear();
        break;
      case "order":
        this.#order = record.fileIds;
        break;
    }
  }

  /** In the order in which they were written. */
  finish(): Iterable<DiskEntry> {
    for (const entry of [...this.#beforeMark, ...this.#sinceMark]) entry.suspectAll();
    return this.#byFingerprint.values();
  }

  /** Fingerprints from cold to hot, where the last session ended in order. */
  *order(): Generator<string> {
    for (const id of this.#order) {
      const entry = this.#byId.get(id);
      if (entry) yield entry.fingerprint;
    }
  }

  #entry(identity: EntryIdentity, runs: readonly BlockRun[], bytes: Bytes): void {
    const { fingerprint, fileId, sizeBytes } = identity;
    this.highestFileId = Math.max(this.highestFileId, fileId);
    const known = this.#byFingerprint.get(fingerprint);
    if (known && known.fileId !== fileId) this.#remove(known);
    const entry = known?.fileId === fileId ? known : new DiskEntry(fingerprint, fileId, sizeBytes);
    entry.created = true;
    this.#byId.set(fileId, entry);
    this.#byFingerprint.set(fingerprint, entry);
    this.#blocks(entry, runs, bytes);
  }

  #blocks(entry: DiskEntry | undefined, runs: readonly BlockRun[], bytes: Bytes): void {
    if (entry === undefined) return;
    entry.recordBytes += bytes;
    for (const { first, crcs } of runs) for (let i = 0; i < crcs.length; i++) entry.add(first + i, crcs[i]!);
    if (!this.#sameBoot) this.#sinceMark.add(entry);
  }

  #remove(entry: DiskEntry | undefined): void {
    if (entry === undefined) return;
    this.#byId.delete(entry.fileId);
    this.#beforeMark.delete(entry);
    this.#sinceMark.delete(entry);
    if (this.#byFingerprint.get(entry.fingerprint) === entry) this.#byFingerprint.delete(entry.fingerprint);
  }
}
