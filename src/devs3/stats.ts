/** What the server counted, and the log of requests that tests look at. */
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";

export interface OperationStats {
  requests: number;
  /** Answers of 400 and above. */
  errors: number;
  bytesIn: Bytes;
  bytesOut: Bytes;
}

export interface DevS3Stats {
  /** By operation name; what is no operation counts as `Unknown`. */
  operations: Record<string, OperationStats>;
  requests: number;
  bytesIn: Bytes;
  bytesOut: Bytes;
  connections: { open: number; total: number };
  inFlight: { now: number; max: number };
}

/** One request, when its answer has gone out (or its connection was cut). */
export interface RequestRecord {
  requestId: string;
  operation: string;
  method: string;
  bucket: string | undefined;
  key: string | undefined;
  query: Record<string, string>;
  /** Lower-case names, as received. */
  headers: Record<string, string>;
  accessKeyId: string | undefined;
  status: number;
  errorCode: string | undefined;
  bytesIn: Bytes;
  bytesOut: Bytes;
  /** False when the connection ended before the whole answer was out. */
  completed: boolean;
  startedMs: EpochMs;
  elapsedMs: Milliseconds;
}

/** Keeps the newest records and the sums of all. */
export class RequestLog {
  readonly #limit: number;
  readonly #listeners = new Set<(record: RequestRecord) => void>();
  readonly #operations = new Map<string, OperationStats>();
  #records: RequestRecord[] = [];
  #inFlight = 0;
  #maxInFlight = 0;
  #openConnections = 0;
  #totalConnections = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Oldest first. */
  get records(): readonly RequestRecord[] {
    return this.#records;
  }

  /** Records of these operations, oldest first. */
  of(...operations: string[]): RequestRecord[] {
    return this.#records.filter((record) => operations.includes(record.operation));
  }

  /** Forgets records, not sums. */
  clear(): void {
    this.#records = [];
  }

  /** Calls `listener` for each record to come; the returned function ends that. */
  on(listener: (record: RequestRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The next record for which `wanted` holds. */
  next(wanted: (record: RequestRecord) => boolean = () => true): Promise<RequestRecord> {
    return new Promise((resolve) => {
      const off = this.on((record) => {
        if (!wanted(record)) return;
        off();
        resolve(record);
      });
    });
  }

  begin(): void {
    this.#inFlight++;
    this.#maxInFlight = Math.max(this.#maxInFlight, this.#inFlight);
  }

  end(record: RequestRecord): void {
    this.#inFlight--;
    const sums = this.#operations.get(record.operation) ?? {
      requests: 0,
      errors: 0,
      bytesIn: 0,
      bytesOut: 0,
    };
    sums.requests++;
    if (record.status >= 400) sums.errors++;
    sums.bytesIn += record.bytesIn;
    sums.bytesOut += record.bytesOut;
    this.#operations.set(record.operation, sums);
    this.#records.push(record);
    // Dropping half at a time keeps the cost of a bounded log away from the single request.
    if (this.#records.length > this.#limit) this.#records = this.#records.slice(-Math.ceil(this.#limit / 2));
    for (const listener of this.#listeners) listener(record);
  }

  connected(): void {
    this.#openConnections++;
    this.#totalConnections++;
  }

  disconnected(): void {
    this.#openConnections--;
  }

  stats(): DevS3Stats {
    const operations: Record<string, OperationStats> = {};
    const total = { requests: 0, bytesIn: 0, bytesOut: 0 };
    for (const [name, sums] of this.#operations) {
      operations[name] = { ...sums };
      total.requests += sums.requests;
      total.bytesIn += sums.bytesIn;
      total.bytesOut += sums.bytesOut;
    }
    return {
      operations,
      ...total,
      connections: { open: this.#openConnections, total: this.#totalConnections },
      inFlight: { now: this.#inFlight, max: this.#maxInFlight },
    };
  }
}
