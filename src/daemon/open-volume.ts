/**
 * Opening a volume: store, content and filesystem, put together from its configuration.
 *
 * The store is asked once before anything else is made: a bucket that is missing, an endpoint that is down or
 * credentials that are wrong fail here, with their own code, and the region that a redirect told is known to the parts
 * that come after.
 */
import { statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import { dirname } from "node:path";
import { createContent, defaultMemoryBytes } from "../cache/create-content.ts";
import type { BlockCache } from "../cache/create-content.ts";
import type { ContentStats } from "../cache/content-stats.ts";
import type { NeighbourSource } from "../cache/neighbours.ts";
import { Disk } from "../cache/disk.ts";
import { newSlab } from "../store/slab.ts";
import { systemClock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { VolumeConfig } from "../config/schema.ts";
import { volumeUrl } from "../config/volume.ts";
import type { Logger } from "../observe/logger.ts";
import type { MetricValues, Metrics } from "../observe/metrics.ts";
import type { RangeReader } from "../store/range-reader.ts";
import { createRangeReader } from "../store/reader/reader.ts";
import { createObjectStore } from "../store/s3-store.ts";
import type { ObjectStoreOptions, S3Store } from "../store/s3-store.ts";
import { withReadFailures } from "./read-failures.ts";
import { createVolumeFilesystem } from "../vfs/volume-filesystem.ts";
import type { Filesystem } from "../vfs/filesystem.ts";
import type { VolumeOptions } from "../vfs/options.ts";
import type { VolumeFilesystem } from "../vfs/volume-filesystem.ts";
import { Writing } from "./writing.ts";
import type { WritingStatus } from "./writing.ts";
import { WaitWindow, waitMetrics } from "./wait-window.ts";
import type { WaitStatus } from "./wait-window.ts";
import { WarmJobs } from "./warm-jobs.ts";

/** How long the store may take for its first answer, retries included. */
const FIRST_ANSWER_MS: Milliseconds = 10_000;
/** What the channel's request slots take of a mount's memory. */
const ARENA_BYTES: Bytes = 65 * MiB;
/**
 * Connections that reading begins with, where as many are wanted: a folder of small files is fetched in seconds, and
 * growing to this from the reader's own beginning would take most of the first.
 */
const INITIAL_CONNECTIONS = 64;
/** Below this, a large range and a few small files would not fit together. */
const MIN_MEMORY_BYTES: Bytes = 128 * MiB;

export interface OpenOptions {
  credentials: Pick<ObjectStoreOptions, "credentials" | "profile">;
  log: Logger;
  signal?: AbortSignal | undefined;
  /** Told what the user should know and what stops nothing. */
  note?: ((text: string) => void) | undefined;
}

/** A volume's filesystem, writable or not. */
export type MountedFilesystem = Filesystem &
  Pick<VolumeFilesystem, "neighbours" | "volumeFiles" | "counts" | "unreachableKeys" | "refresh">;

/** Everything a volume is made of, as one thing to close. */
export interface OpenVolume extends AsyncDisposable {
  readonly store: S3Store;
  readonly content: BlockCache;
  readonly filesystem: MountedFilesystem;
  /** The writable half, where there is one. */
  readonly writing: Writing | undefined;
  /** What is being fetched because somebody asked for it. */
  readonly warming: WarmJobs;
  /** How long applications waited for their reads. */
  waits(): WaitStatus;
  /** Adds what its parts count. */
  report(metrics: Metrics): void;
  /** Filesystem, content, connections, in this order. May be called twice. */
  close(): Promise<void>;
}

/** @throws HawserError what the store answers with, `invalid_argument` for what only the store can tell */
export async function openVolume(
  volume: Omit<VolumeConfig, "credentials">,
  options: OpenOptions,
): Promise<OpenVolume> {
  const memoryBytes = contentBytes(volume);
  const store = await openStore(volume, options);
  try {
    if (volume.mode === "writable") store.prepareUploads();
    await askStore(store, volume, options);
    const disk = await openDisk(volume, store, options.log);
    return await Parts.open(volume, store, { memoryBytes, disk, log: options.log });
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** The store of a volume. Sends nothing. */
export function openStore(
  volume: Pick<
    VolumeConfig,
    "bucket" | "storage" | "region" | "endpoint" | "addressing" | "accountId" | "requesterPays"
  >,
  { credentials, log }: Pick<OpenOptions, "credentials" | "log">,
): Promise<S3Store> {
  const { bucket, storage, region, endpoint, addressing, accountId, requesterPays } = volume;
  return createObjectStore({
    bucket,
    storage,
    region,
    endpoint,
    addressing,
    accountId,
    requestPayer: requesterPays,
    ...credentials,
    onRetry: (event) => log.debug({ event }, "request sent again"),
  });
}

/** One LIST tells bucket, endpoint, credentials and clock apart before anybody waits for a file. */
async function askStore(
  store: S3Store,
  volume: Pick<VolumeConfig, "bucket" | "prefix">,
  { log, signal, note }: OpenOptions,
): Promise<void> {
  const page = await store.list(
    { prefix: volume.prefix, maxKeys: 1 },
    { reason: "metadata", signal, deadlineMs: FIRST_ANSWER_MS },
  );
  if (page.objects.length > 0 || page.prefixes.length > 0) return;
  log.warn({ prefix: volume.prefix }, "there is nothing below the prefix");
  note?.(`${volumeUrl(volume)} is empty; check bucket and prefix if that is not meant.`);
}

function contentBytes({ cache }: Pick<VolumeConfig, "cache">): Bytes {
  const memory = cache.memory ?? Math.max(MIN_MEMORY_BYTES, defaultMemoryBytes(totalmem()));
  if (memory < MIN_MEMORY_BYTES) {
    throw new HawserError("invalid_argument", "The memory of a volume must be at least 128MiB.");
  }
  return memory - ARENA_BYTES;
}

/** Each volume has its own part of the cache folder, told apart by endpoint, bucket and prefix. */
async function openDisk(
  { cache, bucket, prefix }: Pick<VolumeConfig, "cache" | "bucket" | "prefix">,
  store: S3Store,
  log: Logger,
): Promise<Disk | undefined> {
  if (cache.dir === undefined) return undefined;
  return await Disk.open({
    folder: cache.dir,
    volume: { identity: store.identity, bucket, prefix },
    cacheSizeBytes: cache.size ?? Number.MAX_SAFE_INTEGER,
    keepFreeBytes: cache.keepFree ?? (await tenthOfDisk(cache.dir)),
    clock: systemClock,
    say: (message, error) => log.warn({ err: error }, message),
  });
}

/** Each upload asks, and the answer sums the counters of all threads. */
const SAMPLED_MS: Milliseconds = 5;

function sampled(ask: () => boolean): () => boolean {
  let askedMs = -Infinity;
  let answer = false;
  return () => {
    const nowMs = performance.now();
    if (nowMs - askedMs >= SAMPLED_MS) {
      askedMs = nowMs;
      answer = ask();
    }
    return answer;
  };
}

/** Of the file system that a folder is, or will be, on. */
async function tenthOfDisk(folder: string): Promise<Bytes> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { blocks, bsize } = await statfs(path);
      return Math.floor((blocks * bsize) / 10);
    } catch {
      if (path === "/") return 0;
    }
  }
}

class Parts implements OpenVolume {
  readonly store: S3Store;
  readonly content: BlockCache;
  readonly filesystem: MountedFilesystem;
  readonly writing: Writing | undefined;
  readonly warming: WarmJobs;
  private readonly reader: RangeReader;
  private readonly waitWindow: WaitWindow;
  private closed: Promise<void> | undefined;

  private constructor(
    made: Pick<OpenVolume, "store" | "content" | "filesystem" | "writing"> & { reader: RangeReader },
  ) {
    this.store = made.store;
    this.content = made.content;
    this.filesystem = made.filesystem;
    this.writing = made.writing;
    this.reader = made.reader;
    this.waitWindow = new WaitWindow(() => this.content.stats().waits, systemClock);
    this.warming = new WarmJobs({ content: this.content, files: this.filesystem.volumeFiles });
  }

  static async open(
    volume: Omit<VolumeConfig, "credentials">,
    store: S3Store,
    { memoryBytes, disk, log }: { memoryBytes: Bytes; disk: Disk | undefined; log: Logger },
  ): Promise<Parts> {
    const slab = newSlab(memoryBytes);
    const { endpoint } = store;
    const reader = createRangeReader({
      slab: slab.slab,
      credentials: store.credentials,
      target: {
        endpoint: endpoint.url,
        bucket: endpoint.bucket,
        addressing: endpoint.addressing,
        region: endpoint.region,
        requestPayer: store.requestPayer,
      },
      initialConnections: INITIAL_CONNECTIONS,
      loneReads: true,
    });
    // Content asks what lies beside a file when one is opened, and that happens through the filesystem made below.
    // What an earlier mount has left may be uploaded before: nothing is known of neighbours then.
    let neighbouring: Pick<MountedFilesystem, "neighbours"> | undefined;
    const neighbours: NeighbourSource = {
      after: (key, limit) => neighbouring?.neighbours.after(key, limit) ?? [],
      folder: (prefix, mostBytes) => neighbouring?.neighbours.folder(prefix, mostBytes),
    };
    const content = createContent({ reader, ...slab, disk, neighbours, prefetch: volume.prefetch });
    const options = {
      store,
      content: withReadFailures(content, log),
      clock: systemClock,
      logger: log,
      options: vfsOptions(volume),
    };
    const demandWaiting = sampled(() => reader.stats().queued > 0);
    try {
      const writing =
        volume.mode === "writable"
          ? await Writing.open(volume, { store, content, log, filesystem: options, demandWaiting })
          : undefined;
      const filesystem = writing?.filesystem ?? createVolumeFilesystem(options);
      neighbouring = filesystem;
      return new Parts({ store, content, filesystem, writing, reader });
    } catch (error) {
      await content.close();
      await reader.close();
      throw error;
    }
  }

  waits(): WaitStatus {
    return this.waitWindow.status();
  }

  report(metrics: Metrics): void {
    metrics.addText((labels) => waitMetrics(this.content.stats().waits, labels));
    metrics.add(() => {
      const { requests, bytes, retries, hedges, connections, queued } = this.reader.stats();
      return {
        store_requests_total: requests,
        store_bytes_total: bytes,
        store_retries_total: retries,
        store_hedges_total: hedges,
        store_connections: connections,
        store_queued: queued,
      };
    });
    metrics.add(() => contentValues(this.content.stats(), this.filesystem.counts().answeredOpens));
    const { writing } = this;
    if (writing) metrics.add(() => writingValues(writing.status()));
    metrics.add(() => {
      const { entries, treeBytes, openFiles, openFolders, replacedVersions } = this.filesystem.counts();
      return {
        tree_entries: entries,
        tree_bytes: treeBytes,
        open_files: openFiles,
        open_folders: openFolders,
        replaced_versions: replacedVersions,
      };
    });
  }

  close(): Promise<void> {
    this.closed ??= this.closeParts();
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async closeParts(): Promise<void> {
    this.waitWindow.close();
    await this.warming.close();
    await this.filesystem.close();
    await this.writing?.close();
    await this.content.close();
    await this.reader.close();
    await this.store.close();
  }
}

function vfsOptions(volume: Omit<VolumeConfig, "credentials">): VolumeOptions {
  const { prefix, metadataTtl, metadata, mode, uid, gid, fileMode, dirMode, umask } = volume;
  return {
    prefix,
    metadataTtlMs: metadataTtl === "static" ? Number.POSITIVE_INFINITY : metadataTtl,
    metadata: metadata ?? (mode === "writable" ? "full" : "listing"),
    uid,
    gid,
    fileMode,
    dirMode,
    umask,
  };
}

function contentValues(
  { waits, memory, disk, ...counters }: ContentStats,
  answeredOpens: number,
): MetricValues {
  return {
    read_hits_total: counters.hits,
    read_misses_total: counters.misses,
    read_hit_bytes_total: counters.hitBytes,
    read_miss_bytes_total: counters.missBytes,
    read_wait_store_seconds_total: waits.store.totalMs / 1000,
    read_wait_disk_seconds_total: waits.disk.totalMs / 1000,
    passthrough_opens_total: counters.backingOpens + answeredOpens,
    prefetched_bytes_total: counters.prefetchedBytes,
    prefetch_useful_bytes_total: counters.prefetchUsefulBytes,
    prefetch_wasted_bytes_total: counters.prefetchWastedBytes,
    cache_memory_bytes: memory.usedBytes,
    cache_disk_bytes: disk?.usedBytes ?? 0,
    cache_disk_entries: disk?.entries ?? 0,
    cache_disk_read_bytes_total: counters.diskBytes,
    cache_disk_written_bytes_total: disk?.bytesWritten ?? 0,
    cache_disk_corrupt_blocks_total: disk?.corruptBlocks ?? 0,
    cache_disk_evicted_bytes_total: disk?.evictedBytes ?? 0,
  };
}

function writingValues({ files, pendingBytes, stagingBytes, items, recovered }: WritingStatus): MetricValues {
  return {
    write_pending_files: files.length,
    write_pending_bytes: pendingBytes,
    write_staging_bytes: stagingBytes,
    write_pending_changes: items,
    write_recovered_files: recovered,
  };
}
