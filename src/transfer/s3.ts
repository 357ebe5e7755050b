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
import { HawserError } from "../common/errors.ts";
import type { ObjectInfo, PendingMultipart } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import { parseS3Address } from "./address.ts";
import { FolderTotals } from "./browse/folder-totals.ts";
import type { FolderTotal } from "./browse/folder-totals.ts";
import { listBuckets, makeBucket, removeBucket } from "./bucket/buckets.ts";
import type { BucketEntry, MakeBucketOptions } from "./bucket/buckets.ts";
import { getLifecycle, lifecycleOf, readableLifecycle, setLifecycle } from "./bucket/lifecycle.ts";
import { getSettings, setSettings } from "./bucket/settings.ts";
import type { BucketSettings, SettingChanges } from "./bucket/settings.ts";
import { listVersions, removeVersions, restoreVersion } from "./bucket/versions.ts";
import type { ObjectVersion } from "./bucket/versions.ts";
import { carryOut, findCheckpoints, findStaleMultiparts } from "./cleanup/cleanup.ts";
import { planCleanup } from "./cleanup/plan.ts";
import type { CleanupRules, Judged } from "./cleanup/plan.ts";
import type { JobOptions } from "./job.ts";
import { folderPrefix, listObjects } from "./listing.ts";
import { requestRestore, waitRestored } from "./restore-archived.ts";
import type { RestoreState, RestoreTier } from "./restore-archived.ts";
import { loadPrices } from "./review/prices.ts";
import { review } from "./review/review.ts";
import type { Review } from "./review/review.ts";
import { watch } from "./watch.ts";
import type { WatchEvent, WatchOptions } from "./watch.ts";
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

export interface S3CleanupOptions extends CleanupRules, JobOptions {
  /** What counts, files or folders: a glob. By name when absent. */
  pattern?: string | undefined;
  /** End unfinished uploads older than a day, too. */
  multipart?: boolean | undefined;
}

export interface S3Cleanup {
  judged: Judged[];
  multiparts: PendingMultipart[];
  summary: TransferSummary;
}

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

  /** The buckets of the account, by name. */
  async buckets(signal?: AbortSignal): Promise<BucketEntry[]> {
    return await listBuckets(this.#connection, signal);
  }

  /** Makes a bucket, closed to the public. @returns what the store does not know how to set, in words */
  async makeBucket(bucket: string, options: MakeBucketOptions = {}): Promise<string[]> {
    return await makeBucket(await this.#connection.store(bucket), options);
  }

  /** Removes a bucket; with `force` what is in it as well, old versions included. @throws HawserError `not_empty` */
  async removeBucket(bucket: string, options: { force?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    await removeBucket(this.#connection, bucket, options);
  }

  /** Sizes and counts of folders as they are finished, the whole last. @param depth 1 when absent; 0: the whole alone */
  async *totals(
    address: string,
    { depth = 1, signal }: { depth?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<FolderTotal> {
    const parsed = parseS3Address(address);
    const totals = new FolderTotals(folderPrefix(parsed.key), depth);
    const store = await this.#connection.store(parsed.bucket);
    for await (const { objects } of listEntries(store, parsed, { recursive: true, signal })) {
      for (const object of objects) yield* totals.add(object);
    }
    yield* totals.end();
  }

  /** All that a HEAD tells, checksums included. @throws HawserError `not_found` */
  async stat(
    address: string,
    { versionId, signal }: { versionId?: string; signal?: AbortSignal } = {},
  ): Promise<ObjectInfo> {
    const { store, key } = await this.#object(address);
    const version = versionId === undefined ? {} : { versionId };
    return await store.head(key, { reason: "bulk", signal, checksums: true, ...version });
  }

  /** The bytes of an object as they come. Ends early when the signal does, by rejecting. */
  async *read(
    address: string,
    { signal, ...range }: { offset?: number; length?: number; versionId?: string; signal?: AbortSignal } = {},
  ): AsyncGenerator<Uint8Array> {
    const { store, key } = await this.#object(address);
    const { body } = await store.getStream({ key, ...range }, { reason: "bulk", signal });
    yield* body;
  }

  /** Makes an object of a stream. Nothing is left of one that breaks off. */
  async write(
    source: AsyncIterable<Uint8Array>,
    address: string,
    options: Omit<CopyOptions, "streams" | "recursive" | "move"> = {},
  ): Promise<TransferSummary> {
    const streams = { input: source, output: () => Promise.resolve() };
    return await copy(this.#connection, ["-"], address, { ...options, streams });
  }

  /** A URL that needs no credentials. The signal ends the search for credentials. @throws HawserError `invalid_argument` without credentials to sign with */
  async presign(
    address: string,
    options: {
      method?: "GET" | "PUT" | "HEAD" | "DELETE";
      expiresSeconds?: number;
      versionId?: string;
      signal?: AbortSignal;
    } = {},
  ): Promise<string> {
    const { method = "GET", expiresSeconds = 3600, versionId, signal } = options;
    const { store, key } = await this.#object(address);
    const url = await store.presign({ method, key, expiresSeconds, versionId, signal });
    if (url !== undefined) return url;
    throw new HawserError("invalid_argument", "Nothing can be signed without credentials.");
  }

  /** Pages of versions below a prefix; of a key the newest first. */
  async *versions(address: string, options: { signal?: AbortSignal } = {}): AsyncGenerator<ObjectVersion[]> {
    const { bucket, key } = parseS3Address(address);
    yield* listVersions(await this.#connection.store(bucket), key, options);
  }

  /** Makes an old version the present one; without its id the newest that is not a removal. */
  async restoreVersion(
    address: string,
    versionId?: string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<{ versionId: string; how: "present" | "removal" | "copy" }> {
    const { store, key } = await this.#object(address);
    return await restoreVersion(store, key, versionId, signal);
  }

  /** Removes one version for good. */
  async removeVersion(
    address: string,
    versionId: string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<void> {
    const { store, key } = await this.#object(address);
    const [failure] = await removeVersions(store, [{ key, versionId }], signal);
    if (failure) throw failure;
  }

  /** Asks for a readable copy of an archived object; with `pollMs` waits until it is there. */
  async restore(
    address: string,
    options: { days?: number; tier?: RestoreTier; pollMs?: number; signal?: AbortSignal } = {},
  ): Promise<RestoreState> {
    const { days = 1, tier = "Standard", pollMs, signal } = options;
    const { store, key } = await this.#object(address);
    const state = await requestRestore(store, key, { days, tier, signal });
    if (state !== "restoring" || pollMs === undefined) return state;
    await waitRestored(store, key, { pollMs, signal });
    return "restored";
  }

  /** Removes old checkpoints by age, number and size, and unfinished uploads: see `Checkpoints` for more than names. */
  async cleanup(address: string, options: S3CleanupOptions): Promise<S3Cleanup> {
    const { pattern, multipart, signal, ...rules } = options;
    const { bucket, key } = parseS3Address(address);
    const store = await this.#connection.store(bucket);
    const now = Date.now();
    const judged = planCleanup(await findCheckpoints(store, key, { pattern, signal }), rules, now);
    const multiparts = multipart ? await findStaleMultiparts(store, key, now, signal) : [];
    const going = judged.filter(({ verdict }) => verdict !== "keep").map(({ checkpoint }) => checkpoint);
    const what = { checkpoints: going.toReversed(), multiparts };
    return { judged, multiparts, summary: await carryOut(store, what, options) };
  }

  /** What is new, changed or gone below a prefix, without end, until the signal. */
  async *watch(address: string, options: WatchOptions): AsyncGenerator<WatchEvent> {
    const { bucket, key } = parseS3Address(address);
    const store = await this.#connection.store(bucket);
    yield* watch(() => listObjects(store, key, { signal: options.signal }), options);
  }

  /** What is there, what it costs, and what to do about it. @param prices a file; the built-in table when absent */
  async review(
    address: string,
    { prices, signal }: { prices?: string; signal?: AbortSignal } = {},
  ): Promise<Review> {
    const { bucket, key } = parseS3Address(address);
    const store = await this.#connection.store(bucket);
    return await review(store, key, await loadPrices(prices), { nowMs: Date.now(), signal });
  }

  /** The lifecycle rules of a bucket, in the readable form. */
  async lifecycle(bucket: string, signal?: AbortSignal): Promise<{ rules: Record<string, unknown>[] }> {
    return readableLifecycle(await getLifecycle(await this.#connection.store(bucket), signal));
  }

  /** @param rules in the readable form; none removes them @throws HawserError `config_invalid` */
  async setLifecycle(
    bucket: string,
    rules: { rules: readonly unknown[] },
    signal?: AbortSignal,
  ): Promise<void> {
    const made = rules.rules.length === 0 ? [] : lifecycleOf(rules);
    await setLifecycle(await this.#connection.store(bucket), made, signal);
  }

  /** What protects a bucket. */
  async settings(bucket: string, signal?: AbortSignal): Promise<BucketSettings> {
    return await getSettings(await this.#connection.store(bucket), signal);
  }

  async setSettings(bucket: string, changes: SettingChanges, signal?: AbortSignal): Promise<void> {
    await setSettings(await this.#connection.store(bucket), changes, signal);
  }

  /** @throws HawserError `invalid_argument` for a bucket alone, or a folder */
  async #object(address: string): Promise<{ store: S3Store; key: string }> {
    const { bucket, key } = parseS3Address(address);
    if (key === "" || key.endsWith("/"))
      throw new HawserError("invalid_argument", `'${address}' is no object; write its whole key.`);
    return { store: await this.#connection.store(bucket), key };
  }

  /** Ends connections and threads. May be called twice. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
