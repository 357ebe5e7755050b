/**
 * Volume: a volume used by a program directly, without a kernel and without a mount.
 *
 * It goes through the same filesystem and cache as a mount, so paths, metadata and errors are the same. Lookups are
 * counted as the kernel would count them and given back at once: a program that lists a million keys holds none.
 */
import { posix } from "node:path";
import { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import { parseVolume } from "../config/volume.ts";
import { silentLogger } from "../observe/logger.ts";
import type { Logger } from "../observe/logger.ts";
import { ROOT } from "../vfs/filesystem.ts";
import type {
  Attributes,
  Caller,
  DirentSink,
  Entry,
  FileType,
  Filesystem,
  NodeId,
  OpenFlags,
} from "../vfs/filesystem.ts";
import { resolveConfigured } from "./credentials.ts";
import { openVolume } from "./open-volume.ts";
import type { OpenVolume } from "./open-volume.ts";
import { splitCredentials } from "./volume-request.ts";
import type { VolumeOptions } from "./volume-request.ts";

/** A file or folder of a volume. */
export interface FileEntry {
  /** The last part of the path; empty for the volume's root. */
  name: string;
  /** From the volume's root, without a slash in front. */
  path: string;
  type: FileType;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  mode: number;
  uid: number;
  gid: number;
}

export interface ReadOptions {
  /** First byte; 0 when absent. */
  offset?: Bytes;
  /** Bytes wanted; to the end when absent. */
  length?: Bytes;
  signal?: AbortSignal;
}

/** What one read of a stream asks for. */
const CHUNK_BYTES: Bytes = 1024 * 1024;
/** Entries taken from the filesystem at a time while a folder is listed. */
const PAGE_ENTRIES = 256;

const READ_ONLY: OpenFlags = {
  read: true,
  write: false,
  append: false,
  truncate: false,
  exclusive: false,
  sync: false,
  direct: false,
};

export class Volume implements AsyncDisposable {
  private readonly parts: OpenVolume;
  private readonly filesystem: Filesystem;
  private closed = false;

  private constructor(parts: OpenVolume) {
    this.parts = parts;
    this.filesystem = parts.filesystem;
  }

  /**
   * Opens a volume and asks the store whether it is there.
   *
   * @throws HawserError `invalid_argument`, `credentials_*`, `bucket_not_found`, `endpoint_unreachable`, …
   */
  static async open(options: Omit<VolumeOptions, "mount"> & { log?: Logger }): Promise<Volume> {
    const { log = silentLogger, ...rest } = options;
    const { raw, provider } = splitCredentials(rest);
    // The schema describes mounts; a volume that is used directly has no path, and this one is never looked at.
    const volume = parseVolume({ ...raw, mount: "/mnt/unmounted" });
    const credentials = provider
      ? { credentials: provider }
      : resolveConfigured(volume.credentials, process.env);
    return new Volume(await openVolume(volume, { credentials, log }));
  }

  /** @throws HawserError `not_found`, `not_a_directory` */
  async stat(path: string): Promise<FileEntry> {
    return await this.at(path, async ({ nodeId, attributes }) => {
      const own = attributes ?? (await this.filesystem.getattr(nodeId, undefined, caller())).attributes;
      return fileEntry(normalize(path), own);
    });
  }

  /**
   * The entries of a folder, in the order of their keys, while they arrive. `recursive` goes into folders, each before
   * what is in it.
   *
   * @throws HawserError `not_found`, `not_a_directory`
   */
  async *list(
    path = "",
    { recursive = false, signal }: { recursive?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<FileEntry> {
    for await (const entry of this.listFolder(normalize(path), signal)) {
      yield entry;
      if (recursive && entry.type === "directory")
        yield* this.list(entry.path, { recursive, ...(signal ? { signal } : {}) });
    }
  }

  /** A whole file, or a range of it, in memory. @throws HawserError `not_found`, `is_a_directory`, `stale`, `io_error` */
  async read(path: string, options: ReadOptions = {}): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.stream(path, options)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** A file as chunks, all of one version of the object. @throws as `read` */
  async *stream(
    path: string,
    { offset = 0, length = Number.POSITIVE_INFINITY, signal }: ReadOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const who = caller(signal);
    const handle = await this.at(
      path,
      async ({ nodeId }) => (await this.filesystem.open(nodeId, READ_ONLY, who)).handle,
      signal,
    );
    try {
      for (let at = offset, left = length; left > 0;) {
        const reply = await this.filesystem.read(handle, at, Math.min(left, CHUNK_BYTES), who);
        try {
          if (reply.lengthBytes === 0) return;
          // Copied: the memory belongs to the cache and is used again after the release.
          for (const chunk of reply.chunks) yield Uint8Array.from(chunk);
          at += reply.lengthBytes;
          left -= reply.lengthBytes;
        } finally {
          reply.release();
        }
      }
    } finally {
      await this.filesystem.release(handle, undefined);
    }
  }

  /** Ends reads in flight and connections. May be called twice. */
  async close(): Promise<void> {
    this.closed = true;
    await this.parts.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async *listFolder(path: string, signal: AbortSignal | undefined): AsyncGenerator<FileEntry> {
    const who = caller(signal);
    const handle = await this.at(
      path,
      async ({ nodeId }) => (await this.filesystem.opendir(nodeId, who)).handle,
      signal,
    );
    try {
      for (let offset = 0; ;) {
        const page = new EntryPage(path);
        await this.filesystem.readdir(handle, offset, page, who);
        for (const nodeId of page.references) this.filesystem.forget(nodeId, 1);
        if (page.lastOffset === undefined) return;
        offset = page.lastOffset;
        yield* page.entries;
      }
    } finally {
      this.filesystem.releasedir(handle);
    }
  }

  /** Walks to a path, does something there, and gives every lookup back. */
  private async at<T>(
    path: string,
    action: (found: { nodeId: NodeId; attributes: Attributes | undefined }) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    if (this.closed) throw new HawserError("closed", "The volume is closed.");
    const references: NodeId[] = [];
    const who = caller(signal);
    let nodeId: NodeId = ROOT;
    let attributes: Attributes | undefined;
    try {
      for (const name of normalize(path).split("/").filter(Boolean)) {
        const entry: Entry = await this.filesystem.lookup(nodeId, name, who);
        if (entry.nodeId === 0) throw new HawserError("not_found", `There is no '${path}' in this volume.`);
        references.push(entry.nodeId);
        ({ nodeId, attributes } = entry);
      }
      return await action({ nodeId, attributes });
    } finally {
      for (const reference of references) this.filesystem.forget(reference, 1);
    }
  }
}

/** Takes a page of entries out of the filesystem's hands: what it is given is used again for the next. */
class EntryPage implements DirentSink {
  readonly plus = true;
  readonly entries: FileEntry[] = [];
  readonly references: NodeId[] = [];
  lastOffset: number | undefined;
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  add(): boolean {
    throw new HawserError("internal", "Entries with attributes were asked for.");
  }

  addPlus(nameBytes: Uint8Array, { nodeId, attributes }: Entry, nextOffset: number): boolean {
    if (this.entries.length >= PAGE_ENTRIES) return false;
    this.lastOffset = nextOffset;
    const name = Buffer.from(nameBytes).toString("utf8");
    if (name === "." || name === "..") return true;
    if (nodeId !== 0) this.references.push(nodeId);
    this.entries.push(fileEntry(posix.join(this.folder, name), attributes));
    return true;
  }
}

function fileEntry(path: string, { type, sizeBytes, mtimeMs, mode, uid, gid }: Attributes): FileEntry {
  return { name: posix.basename(path), path, type, sizeBytes, mtimeMs, mode, uid, gid };
}

/** `/a//b/` -> `a/b`. @throws HawserError `invalid_argument` for a path that leaves the volume */
function normalize(path: string): string {
  const plain = posix.normalize(`/${path}`).slice(1).replace(/\/$/, "");
  if (path.split("/").includes(".."))
    throw new HawserError(
      "invalid_argument",
      `'${path}' contains '..'; write the path from the volume's root.`,
    );
  return plain;
}

function caller(signal: AbortSignal = NEVER): Caller {
  return {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    pid: process.pid,
    waiter: signal,
    signal,
  };
}

const NEVER = new AbortController().signal;
