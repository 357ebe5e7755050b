/**
 * Registrations: complete cache files that the kernel knows as backing files, each registered once and kept in a bounded
 * LRU, so that the next open of one is a reply and nothing else.
 *
 * A registration holds the file in the kernel without a descriptor of ours. One that is in use is not given up before its
 * last user is done; the file's room on disk is free only after that.
 */
import { LRUCache } from "lru-cache";
import type { BackingKernel, Resting } from "./content.ts";
import type { DiskEntry } from "./disk-entry.ts";

/** At about 2 KiB of the kernel's memory each. */
export const MOST_REGISTERED = 16_384;

export class Registration {
  readonly backingId: number;
  readonly kernel: BackingKernel;
  users = 0;
  /** While its user is at rest. */
  resting: Resting | undefined;
  /** No longer in the LRU: the last user gives it up. */
  dropped = false;

  constructor(backingId: number, kernel: BackingKernel) {
    this.backingId = backingId;
    this.kernel = kernel;
  }
}

export class Registrations {
  #kernel: BackingKernel | undefined;
  readonly #held = new LRUCache<DiskEntry, Registration>({
    max: MOST_REGISTERED,
    dispose: (registration) => {
      // Whom it tells may release it.
      registration.users++;
      registration.dropped = true;
      registration.resting?.wanted();
      this.release(registration);
    },
  });

  /** The kernel that files are handed to; undefined before the first. */
  get kernel(): BackingKernel | undefined {
    return this.#kernel;
  }

  /** From here on files are for this kernel. */
  attach(kernel: BackingKernel): void {
    this.#kernel = kernel;
  }

  /** Each use ends with `release`. */
  use(entry: DiskEntry): Registration | undefined {
    const registration = this.#held.get(entry);
    if (registration) registration.users++;
    return registration;
  }

  has(entry: DiskEntry): boolean {
    return this.#held.has(entry);
  }

  /** Whether opens that nobody told of go on, or were made since this was asked last. */
  restingUse(entry: DiskEntry): "open" | "used" | "unused" {
    return this.#held.peek(entry)?.resting?.use() ?? "unused";
  }

  /** Registers the open file of an entry that is not registered. @returns whether the kernel took it */
  add(entry: DiskEntry, fd: number): boolean {
    const backingId = this.#kernel?.openBacking(fd);
    if (backingId === undefined) return false;
    this.#held.set(entry, new Registration(backingId, this.#kernel!));
    return true;
  }

  release(registration: Registration): void {
    if (--registration.users > 0 || !registration.dropped) return;
    registration.kernel.closeBacking(registration.backingId);
  }

  /** Gives up the entry's registration as soon as nobody uses it. */
  drop(entry: DiskEntry): void {
    this.#held.delete(entry);
  }

  close(): void {
    this.#held.clear();
  }
}
