/**
 * DiskIndex: which versions the disk holds, in order of use, and the log that says so after a restart.
 *
 * Replaying the log is the whole start-up: no cache file is opened. What was written under another boot of the machine
 * after the last clean point may not have reached the disk although the log did; such entries start as suspects.
 */
import { LRUCache } from "lru-cache";
import { RecordLog } from "../common/record-log.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { DiskEntry } from "./disk-entry.ts";
import { INDEX_FORMAT, decodeRecord, encodeRecord } from "./index-record.ts";
import type { BlockRun, EntryIdentity, IndexRecord } from "./index-record.ts";
import { IndexReplay } from "./index-replay.ts";

/** Blocks in one record, so that the largest object's records stay far below a log's longest. */
const BLOCKS_PER_RECORD = 1 << 18;
/** A log shorter than this is not worth compacting. */
const COMPACT_ABOVE: Bytes = MiB;
/** How long records collect. What a killed process loses by it are blocks that are fetched again. */
const LINGER_MS: Milliseconds = 20;
/** Entries whose order of use is remembered over a restart. */
const ORDERED_ENTRIES = 1_000_000;

export class DiskIndex {
  readonly #log: RecordLog;
  readonly #bootId: string;
  /** From cold to hot. Entries count 1 each: bytes are the store's business. */
  readonly #order = new LRUCache<string, DiskEntry>({
    maxSize: Number.MAX_SAFE_INTEGER,
    sizeCalculation: () => 1,
  });
  #nextFileId = 1;
  #usedBytes: Bytes = 0;
  #liveRecordBytes: Bytes = 0;
  #marks = 0;
  #compacting: Promise<void> | undefined;

  private constructor(log: RecordLog, bootId: string) {
    this.#log = log;
    this.#bootId = bootId;
  }

  /** @param fileIdsFrom no file of an earlier session, on record or stray, has this id or a higher one */
  static async open(path: string, bootId: string, fileIdsFrom: number): Promise<DiskIndex> {
    const replay = new IndexReplay(bootId);
    const { log } = await RecordLog.open(
      { path, ...INDEX_FORMAT, onOther: "restart", lingerMs: LINGER_MS },
      (bytes) => {
        const record = decodeRecord(bytes);
        if (record) replay.take(record, bytes.length);
      },
    );
    const index = new DiskIndex(log, bootId);
    for (const entry of replay.finish()) {
      index.#order.set(entry.fingerprint, entry);
      index.#usedBytes += entry.diskBytes;
      index.#liveRecordBytes += entry.recordBytes;
    }
    for (const fingerprint of replay.order()) index.#order.get(fingerprint);
    index.#nextFileId = Math.max(fileIdsFrom, replay.highestFileId + 1);
    index.#append({ kind: "session", bootId });
    return index;
  }

  get usedBytes(): Bytes {
    return this.#usedBytes;
  }

  get size(): number {
    return this.#order.size;
  }

  get logBytes(): Bytes {
    return this.#log.sizeBytes;
  }

  /** Files of this session have ids from here on. */
  get nextFileId(): number {
    return this.#nextFileId;
  }

  /** Finds an entry and marks it as just used. */
  get(fingerprint: string): DiskEntry | undefined {
    return this.#order.get(fingerprint);
  }

  entries(): IterableIterator<DiskEntry> {
    return this.#order.values() as IterableIterator<DiskEntry>;
  }

  /** A new entry without blocks; nothing is written before its first blocks are. */
  create(fingerprint: string, sizeBytes: Bytes): DiskEntry {
    const entry = new DiskEntry(fingerprint, this.#nextFileId++, sizeBytes);
    this.#order.set(fingerprint, entry);
    return entry;
  }

  /** Takes note of blocks whose bytes are in the file. */
  added(entry: DiskEntry, identity: Omit<EntryIdentity, "fileId" | "fingerprint">, run: BlockRun): void {
    if (entry.removed) return;
    for (let i = 0; i < run.crcs.length; i++) this.#usedBytes += entry.add(run.first + i, run.crcs[i]!);
    for (let from = 0; from < run.crcs.length; from += BLOCKS_PER_RECORD) {
      const crcs = run.crcs.subarray(from, from + BLOCKS_PER_RECORD);
      this.#logBlocks(entry, identity, { first: run.first + from, crcs });
    }
  }

  dropped(entry: DiskEntry, first: number, count: number): void {
    for (let block = first; block < first + count; block++) this.#usedBytes -= entry.drop(block);
    this.#append({ kind: "dropped", fileId: entry.fileId, first, count });
  }

  exposed(entry: DiskEntry): void {
    if (entry.exposed) return;
    entry.exposed = true;
    this.#append({ kind: "exposed", fileId: entry.fileId });
  }

  /** Forgets an entry; its file is the caller's to unlink. Its bytes still count until `freed`. */
  remove(entry: DiskEntry): void {
    if (entry.removed) return;
    entry.removed = true;
    if (this.#order.peek(entry.fingerprint) === entry) this.#order.delete(entry.fingerprint);
    this.#liveRecordBytes -= entry.recordBytes;
    if (entry.recordBytes > 0) this.#append({ kind: "removed", fileId: entry.fileId });
  }

  /** The file of a removed entry is gone from the disk. */
  freed(bytes: Bytes): void {
    this.#usedBytes -= bytes;
  }

  /** The coldest entry that `fits`; those that do not are passed over and count as used just now. */
  coldest(fits: (entry: DiskEntry) => boolean): DiskEntry | undefined {
    for (let passed = this.#order.size; passed > 0; passed--) {
      const entry = this.#order.pop();
      if (entry === undefined) return undefined;
      this.#order.set(entry.fingerprint, entry);
      if (fits(entry)) return entry;
    }
    return undefined;
  }

  /** @returns a number for `clean`, to be given once everything written so far has reached the disk */
  mark(): number {
    this.#append({ kind: "mark", number: ++this.#marks });
    return this.#marks;
  }

  clean(mark: number): void {
    this.#append({ kind: "clean", number: mark });
  }

  flush(): Promise<void> {
    return this.#log.flush();
  }

  sync(): Promise<void> {
    return this.#log.sync();
  }

  /** Rewrites the log when more than half of it is history. @returns whether it did */
  async compactIfWorth(): Promise<boolean> {
    if (this.#compacting || this.#log.sizeBytes < 2 * this.#liveRecordBytes + COMPACT_ABOVE) return false;
    this.#compacting = this.#compact().finally(() => (this.#compacting = undefined));
    await this.#compacting;
    return true;
  }

  async close(): Promise<void> {
    await this.#compacting?.catch(() => undefined);
    const entries = [...this.#order.values()].slice(0, ORDERED_ENTRIES);
    this.#append({ kind: "order", fileIds: Uint32Array.from(entries.reverse(), (entry) => entry.fileId) });
    await this.#log.close();
  }

  async #compact(): Promise<void> {
    let live = 0;
    const log = this.#log;
    const find = (identity: EntryIdentity): DiskEntry | undefined => {
      const entry = this.#order.peek(identity.fingerprint);
      return entry?.fileId === identity.fileId ? entry : undefined;
    };
    const bootId = this.#bootId;
    let session: string | undefined;
    // Suspects stay suspects: they go under a boot that nobody is in.
    const inSession = function* (wanted: string): Generator<Buffer> {
      if (wanted !== session) yield encodeRecord({ kind: "session", bootId: wanted });
      session = wanted;
    };
    async function* records(): AsyncGenerator<Buffer> {
      for await (const batch of log.records()) {
        for (const bytes of batch) {
          const record = decodeRecord(bytes);
          if (record?.kind !== "entry") continue;
          const entry = find(record.identity);
          if (entry === undefined) continue;
          yield* inSession(entry.suspected ? "" : bootId);
          entry.recordBytes = 0;
          for (const each of recordsOf(entry, record.identity)) {
            const encoded = encodeRecord(each);
            entry.recordBytes += encoded.length;
            live += encoded.length;
            yield encoded;
          }
        }
      }
      yield* inSession(bootId);
    }
    await log.compact(records());
    this.#liveRecordBytes = live;
  }

  #logBlocks(entry: DiskEntry, identity: Omit<EntryIdentity, "fileId" | "fingerprint">, run: BlockRun): void {
    const { fingerprint, fileId } = entry;
    const bytes =
      entry.recordBytes === 0
        ? this.#append({ kind: "entry", identity: { ...identity, fingerprint, fileId }, runs: [run] })
        : this.#append({ kind: "blocks", fileId, runs: [run] });
    entry.recordBytes += bytes;
    this.#liveRecordBytes += bytes;
  }

  #append(record: IndexRecord): Bytes {
    const bytes = encodeRecord(record);
    this.#log.append(bytes);
    return bytes.length;
  }
}

/** All that is to be said of an entry now. */
function* recordsOf(entry: DiskEntry, identity: EntryIdentity): Generator<IndexRecord> {
  let runs: BlockRun[] = [];
  let collected = 0;
  let first = true;
  const flush = (): IndexRecord => {
    const record: IndexRecord = first
      ? { kind: "entry", identity, runs }
      : { kind: "blocks", fileId: entry.fileId, runs };
    first = false;
    runs = [];
    collected = 0;
    return record;
  };
  for (let block = 0; block < entry.blocks;) {
    const count = entry.run(block, BLOCKS_PER_RECORD - collected);
    if (entry.has(block)) {
      const from = block;
      runs.push({ first: block, crcs: Uint32Array.from({ length: count }, (_, i) => entry.crc(from + i)) });
      collected += count;
      if (collected >= BLOCKS_PER_RECORD) yield flush();
    }
    block += count;
  }
  if (first || runs.length > 0) yield flush();
  if (entry.exposed) yield { kind: "exposed", fileId: entry.fileId };
}
