/**
 * Upload slots: how many transfers run at once, and whose turn it is.
 *
 * A slot is one request that carries a body. Files take turns, so that a small file does not wait behind all parts of a
 * large one. While applications wait for reads, only a share of the slots is given out: demand goes first.
 */
import { HawserError } from "../common/errors.ts";

export interface UploadSlotsOptions {
  /** Slots in all. */
  total: number;
  /** Slots while demand reads are waiting; at least 1. */
  whileReading: number;
  /** True while applications wait for reads. Asked at each hand-out. */
  reading?: () => boolean;
}

interface Waiter {
  grant(): void;
  refuse(error: Error): void;
}

export class UploadSlots {
  readonly #options: UploadSlotsOptions;
  /** Waiters by file, in order of arrival; the map's order is whose turn is next. */
  readonly #queues = new Map<number, Waiter[]>();
  #used = 0;
  #closed = false;

  constructor(options: UploadSlotsOptions) {
    this.#options = options;
  }

  get used(): number {
    return this.#used;
  }

  /**
   * Runs `transfer` in a slot of this file.
   *
   * @throws `closed` when the slots were closed before its turn came
   */
  async run<T>(file: number, transfer: () => Promise<T>): Promise<T> {
    await this.#acquire(file);
    try {
      return await transfer();
    } finally {
      this.#used--;
      this.#handOut();
    }
  }

  /** Looks again at the limit, e.g. when reading has ended. */
  reconsider(): void {
    this.#handOut();
  }

  /** Refuses whoever waits. Transfers that run are not touched. */
  close(): void {
    this.#closed = true;
    const error = new HawserError("closed", "The upload queue is closed.");
    for (const queue of this.#queues.values()) for (const waiter of queue) waiter.refuse(error);
    this.#queues.clear();
  }

  #acquire(file: number): Promise<void> {
    if (this.#closed) return Promise.reject(new HawserError("closed", "The upload queue is closed."));
    return new Promise<void>((grant, refuse) => {
      const queue = this.#queues.get(file);
      if (queue) queue.push({ grant, refuse });
      else this.#queues.set(file, [{ grant, refuse }]);
      this.#handOut();
    });
  }

  #limit(): number {
    return this.#options.reading?.() ? Math.max(1, this.#options.whileReading) : this.#options.total;
  }

  #handOut(): void {
    while (this.#used < this.#limit()) {
      const next = this.#queues.entries().next().value;
      if (!next) return;
      const [file, queue] = next;
      const waiter = queue.shift()!;
      // To the end of the line: the next slot is another file's.
      this.#queues.delete(file);
      if (queue.length > 0) this.#queues.set(file, queue);
      this.#used++;
      waiter.grant();
    }
  }
}
