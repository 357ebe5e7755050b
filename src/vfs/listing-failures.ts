/**
 * Listing failures: what a folder answers after its listing failed.
 *
 * When the store cannot be reached and the folder was listed before, the old listing serves on, for a bounded time
 * beyond its life. Every other failure, and the end of that time, is an error. Either holds for a moment, so that one
 * `ls` of a broken folder is one request and not one for every name. A failure is never an absence: `not_found`, which
 * would become ENOENT and be cached, is turned into an I/O error.
 */
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { Row } from "./inode-table.ts";
import type { Tree } from "./tree.ts";

/** How long a failure is everybody's answer. */
export const FAILURE_HOLD_MS: Milliseconds = 1000;
/** How long an outdated listing serves before the store is tried again. */
export const STALE_HOLD_MS: Milliseconds = 5000;

/** Failures that say nothing about the bucket: it may be as it was. */
const UNREACHABLE: readonly ErrorCode[] = ["endpoint_unreachable", "timed_out", "slow_down", "store_failed"];

export interface ListingFailuresOptions {
  tree: Tree;
  clock: Clock;
  logger: Pick<Logger, "warn" | "info">;
  staleForMs: Milliseconds;
}

export class ListingFailures {
  readonly #options: ListingFailuresOptions;
  readonly #errors = new Map<Row, { error: HawserError; until: Milliseconds }>();
  readonly #stale = new Map<Row, Milliseconds>();
  /** Codes that were logged and have not been followed by a success. */
  readonly #logged = new Set<ErrorCode>();

  constructor(options: ListingFailuresOptions) {
    this.#options = options;
  }

  failed(folder: Row, prefix: string, error: HawserError): void {
    const { tree, clock, staleForMs } = this.#options;
    const now = clock.monotonic();
    const translated = this.translate(error, prefix);
    const staleUntil = tree.isComplete(folder) ? tree.freshUntil(folder) + staleForMs : 0;
    if (UNREACHABLE.includes(error.code) && staleUntil > now) {
      this.#stale.set(folder, Math.min(staleUntil, now + STALE_HOLD_MS));
    } else {
      this.#errors.set(folder, { error: translated, until: now + FAILURE_HOLD_MS });
    }
  }

  succeeded(folder: Row): void {
    this.#errors.delete(folder);
    this.#stale.delete(folder);
    if (this.#logged.size === 0) return;
    this.#logged.clear();
    this.#options.logger.info({}, "Listings succeed again.");
  }

  /** The error as callers shall see it, logged once until a listing succeeds. */
  translate(error: HawserError, key: string): HawserError {
    if (error.code !== "interrupted" && error.code !== "closed" && !this.#logged.has(error.code)) {
      this.#logged.add(error.code);
      this.#options.logger.warn({ key, error }, `Listing failed: ${error.message}`);
    }
    if (error.code !== "not_found") return error;
    return new HawserError("io_error", error.message, {
      cause: error,
      s3Code: error.s3Code,
      requestId: error.requestId,
      httpStatus: error.httpStatus,
    });
  }

  /** @throws HawserError the failure of a moment ago */
  throwIfHeld(folder: Row, now: Milliseconds): void {
    const held = this.#errors.get(folder);
    if (held === undefined) return;
    if (held.until > now) throw held.error;
    this.#errors.delete(folder);
  }

  servesStale(folder: Row, now: Milliseconds): boolean {
    return this.staleUntil(folder) > now;
  }

  /** Until when an outdated listing serves; 0 when it does not. */
  staleUntil(folder: Row): Milliseconds {
    return this.#stale.size === 0 ? 0 : (this.#stale.get(folder) ?? 0);
  }

  /** Forgets what is kept by row. */
  rowChanged(row: Row): void {
    if (this.#errors.size > 0) this.#errors.delete(row);
    if (this.#stale.size > 0) this.#stale.delete(row);
  }

  tidy(now: Milliseconds): void {
    for (const [row, held] of this.#errors) if (held.until <= now) this.#errors.delete(row);
    for (const [row, until] of this.#stale) if (until <= now) this.#stale.delete(row);
  }
}
