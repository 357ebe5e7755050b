/**
 * S3: what `hawser s3` does, for programs.
 *
 * ```js
 * import { S3 } from "hawser";
 * await using s3 = new S3({ region: "eu-central-1" });
 * const done = await s3.copy("s3://my-data/train", "./train", { recursive: true, onEvent: console.log });
 * ```
 *
 * Each function resolves with an account of what was done. A file that fails is in it; only arguments that make no sense
 * reject. `signal` ends a job cleanly: what was under way can be taken up by another one.
 */
import { parseS3Address } from "./address.ts";
import { listEntries } from "./browse/entries.ts";
import type { Entries, EntryOptions } from "./browse/entries.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { copy } from "./copy.ts";
import type { TransferSummary } from "./events.ts";
import { remove } from "./remove.ts";
import type { RemoveOptions } from "./remove.ts";
import type { CopyOptions } from "./route.ts";
import { sync } from "./sync.ts";
import type { SyncOptions } from "./sync.ts";

export class S3 implements AsyncDisposable {
  readonly #connection: Connection;

  /** Sends nothing. @throws HawserError `invalid_argument` */
  constructor(options: ConnectionOptions = {}) {
    this.#connection = new Connection(options);
  }

  /**
   * Copies a file, an object, or with `recursive` what is below a folder or prefix.
   *
   * @param sources local paths, `s3://bucket/key`, globs of keys
   * @param target a local path or `s3://bucket/key`; a folder when it ends in a slash, or there are several sources
   * @throws HawserError `invalid_argument`
   */
  async copy(
    sources: string | readonly string[],
    target: string,
    options: CopyOptions = {},
  ): Promise<TransferSummary> {
    return await copy(this.#connection, typeof sources === "string" ? [sources] : sources, target, options);
  }

  /** The same, and takes each source away once its copy is complete. @throws HawserError `invalid_argument` */
  async move(
    sources: string | readonly string[],
    target: string,
    options: CopyOptions = {},
  ): Promise<TransferSummary> {
    return await this.copy(sources, target, { ...options, move: true });
  }

  /**
   * Makes a target the same as its source, sending nothing that is the same. One side may be a local folder.
   *
   * @throws HawserError `invalid_argument`
   */
  async sync(source: string, target: string, options: SyncOptions = {}): Promise<TransferSummary> {
    return await sync(this.#connection, source, target, options);
  }

  /**
   * Objects and folders of a bucket, below a prefix, or that a glob matches, by the page.
   *
   * @throws HawserError `not_found` when there is nothing of that name
   */
  async *list(address: string, options: EntryOptions = {}): AsyncGenerator<Entries> {
    const parsed = parseS3Address(address);
    yield* listEntries(await this.#connection.store(parsed.bucket), parsed, options);
  }

  /** Removes objects; with `recursive`, what lies below a prefix. @throws HawserError `invalid_argument` */
  async remove(addresses: string | readonly string[], options: RemoveOptions = {}): Promise<TransferSummary> {
    const all = typeof addresses === "string" ? [addresses] : addresses;
    return await remove(this.#connection, all.map(parseS3Address), options);
  }

  /** Ends connections and threads. May be called twice. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
