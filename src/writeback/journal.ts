/**
 * Journal: the state and its log, changed together.
 *
 * `add` changes the state at once; what was added in one turn of the event loop goes to the log as one record, so that
 * after a crash all of it holds or none: a rename drops, renames and removes together. What waits for it calls `flush`,
 * and many waiters share one write. The log is rewritten from the state when it is twice as long as the state needs, and at least COMPACT_ABOVE.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { RecordLog } from "../common/record-log.ts";
import type { Replay } from "../common/record-log.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { localError } from "./file-io.ts";
import type { OnFaultPoint } from "./fault-point.ts";
import { JournalState } from "./journal-state.ts";
import { JOURNAL_FORMAT, decodeRecords, encodeRecords } from "./records.ts";
import type { JournalRecord } from "./records.ts";

const COMPACT_ABOVE: Bytes = 4 * MiB;
/** Records in one; a folder with more files is renamed in pieces. */
const MOST_AT_ONCE = 10_000;
/** Room for some thousand records. */
const RESERVE: Bytes = MiB;

export interface JournalReplay extends Replay {
  /** Written under another boot of the machine: what was not synced may be torn. */
  otherBoot: boolean;
  /** Records that this version does not understand. */
  unknown: number;
}

export class Journal {
  readonly state: JournalState;
  readonly #log: RecordLog;
  readonly #fault: OnFaultPoint;
  #compacting: Promise<void> | undefined;
  /** The log's length after the last compaction. */
  #compactBytes: Bytes = 0;
  #closed = false;
  #failure: unknown;
  readonly #path: string;
  #added = 0;
  /** Of those, what has been handed to the log: the rest belongs to a turn that has not ended. */
  #appended = 0;
  #written = 0;
  #writing: Promise<void> | undefined;
  /** Added in this turn. */
  #turn: JournalRecord[] = [];
  #hasReserve = false;

  private constructor(path: string, state: JournalState, log: RecordLog, fault: OnFaultPoint) {
    this.#path = path;
    this.state = state;
    this.#log = log;
    this.#fault = fault;
  }

  /** @throws HawserError `not_supported` when another version of Hawser wrote the journal */
  static async open(
    path: string,
    bootId: string,
    fault: OnFaultPoint,
  ): Promise<{ journal: Journal; replay: JournalReplay }> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const state = new JournalState();
    let unknown = 0;
    const { log, replay } = await RecordLog.open({ path, ...JOURNAL_FORMAT }, (bytes) => {
      const records = decodeRecords(bytes);
      if (!records) unknown++;
      else for (const record of records) state.apply(record);
    });
    const otherBoot = state.bootId !== undefined && state.bootId !== bootId;
    const journal = new Journal(path, state, log, fault);
    await journal.#makeReserve();
    journal.add({ t: "boot", boot: bootId, volume: state.volumeId ?? randomBytes(6).toString("hex") });
    return { journal, replay: { ...replay, otherBoot, unknown } };
  }

  add(...records: JournalRecord[]): void {
    if (this.#closed) return;
    for (const record of records) this.state.apply(record);
    if (this.#turn.length === 0) queueMicrotask(() => this.#endTurn());
    this.#turn.push(...records);
    this.#added += records.length;
    this.#fault("journal.append");
  }

  /** Appends what was added in this turn. */
  #endTurn(): void {
    if (this.#turn.length === 0) return;
    const turn = this.#turn;
    this.#turn = [];
    this.#appended += turn.length;
    for (let at = 0; at < turn.length; at += MOST_AT_ONCE) {
      this.#log.append(encodeRecords(turn.slice(at, at + MOST_AT_ONCE)));
    }
  }

  /** What was added so far, for `flush`. */
  get mark(): number {
    return this.#added;
  }

  /**
   * Resolves when what was added survives the end of this process.
   *
   * @param mark only what was added by then; costs nothing when that is written already
   */
  async flush(mark?: number): Promise<void> {
    if (mark !== undefined && mark <= this.#written) return;
    // The turn ends first: others may add to it after this call.
    await Promise.resolve();
    const wanted = mark ?? this.#added;
    while (this.#written < wanted) {
      this.#writing ??= this.#write().finally(() => (this.#writing = undefined));
      await this.#writing;
    }
    this.#fault("journal.flushed");
  }

  /** One write at a time takes all that has been appended. */
  async #write(): Promise<void> {
    const appended = this.#appended;
    await this.#withReserve(() => this.#log.flush());
    this.#written = appended;
  }

  /** Resolves when what was added survives a power loss. */
  async sync(): Promise<void> {
    await Promise.resolve();
    await this.#withReserve(() => this.#log.sync());
    this.#fault("journal.synced");
  }

  /**
   * On a full disk the journal could not say what was published, and so nothing would ever be deleted: a file that holds
   * some room for it is given up first.
   */
  async #withReserve(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      const failure = localError(error, this.#path);
      if (failure.code !== "no_space" || !this.#hasReserve) throw failure;
      this.#hasReserve = false;
      await rm(`${this.#path}.reserve`, { force: true });
      await this.#withReserve(write);
    }
  }

  async #makeReserve(): Promise<void> {
    if (this.#hasReserve) return;
    try {
      await writeFile(`${this.#path}.reserve`, Buffer.alloc(RESERVE), { mode: 0o600 });
      this.#hasReserve = true;
    } catch {
      await rm(`${this.#path}.reserve`, { force: true });
    }
  }

  /** Rewrites the log when it has become long. Failures are for the next call: the old log stays good. */
  async upkeep(): Promise<void> {
    await this.#makeReserve();
    if (this.#compacting || this.#log.sizeBytes < Math.max(COMPACT_ABOVE, 2 * this.#compactBytes)) return;
    await this.compact();
  }

  async compact(): Promise<void> {
    if (this.#closed) return;
    this.#endTurn();
    // Encoded at once, so that the new log is the state of one moment; later records follow it.
    const records = Array.from(this.state.records(), (record) => encodeRecords([record]));
    this.#compacting = this.#log.compact(records);
    try {
      await this.#compacting;
      this.#compactBytes = this.#log.sizeBytes;
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#compacting = undefined;
    }
  }

  /** Why the last compaction failed. */
  get failure(): unknown {
    return this.#failure;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#endTurn();
    this.#closed = true;
    await this.#compacting?.catch(() => undefined);
    await this.#log.close();
  }
}

/** The kernel's id of this boot. */
export async function readBootId(): Promise<string> {
  try {
    return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  } catch {
    return "unknown";
  }
}
