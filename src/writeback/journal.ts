/**
 * Journal: the state and its log, changed together.
 *
 * `add` changes the state and appends; what waits for it calls `flush`, and many waiters share one write. The log is
 * rewritten from the state when it is twice as long as the state needs, and at least COMPACT_ABOVE.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { RecordLog } from "../common/record-log.ts";
import type { Replay } from "../common/record-log.ts";
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { OnFaultPoint } from "./fault-point.ts";
import { JournalState } from "./journal-state.ts";
import { JOURNAL_FORMAT, decodeRecord, encodeRecord } from "./records.ts";
import type { JournalRecord } from "./records.ts";

const COMPACT_ABOVE: Bytes = 4 * MiB;

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

  private constructor(state: JournalState, log: RecordLog, fault: OnFaultPoint) {
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
      const record = decodeRecord(bytes);
      if (record) state.apply(record);
      else unknown++;
    });
    const otherBoot = state.bootId !== undefined && state.bootId !== bootId;
    const journal = new Journal(state, log, fault);
    journal.add({ t: "boot", boot: bootId, volume: state.volumeId ?? randomBytes(6).toString("hex") });
    return { journal, replay: { ...replay, otherBoot, unknown } };
  }

  add(...records: JournalRecord[]): void {
    if (this.#closed) return;
    for (const record of records) {
      this.state.apply(record);
      this.#log.append(encodeRecord(record));
    }
    this.#fault("journal.append");
  }

  /** Resolves when what was added survives the end of this process. */
  async flush(): Promise<void> {
    await this.#log.flush();
    this.#fault("journal.flushed");
  }

  /** Resolves when what was added survives a power loss. */
  async sync(): Promise<void> {
    await this.#log.sync();
  }

  /** Rewrites the log when it has become long. Failures are for the next call: the old log stays good. */
  async upkeep(): Promise<void> {
    if (this.#compacting || this.#log.sizeBytes < Math.max(COMPACT_ABOVE, 2 * this.#compactBytes)) return;
    await this.compact();
  }

  async compact(): Promise<void> {
    if (this.#closed) return;
    // Encoded at once, so that the new log is the state of one moment; later records follow it.
    const records = Array.from(this.state.records(), encodeRecord);
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
