/** A volume without a kernel: a clock that stands still, a bucket that counts and can be held up, plain content. */
import { signalOf } from "../../../src/common/cancellation.ts";
import type { Content, ContentReader, ObjectVersion, Span } from "../../../src/cache/content.ts";
import type { Clock } from "../../../src/common/clock.ts";
import { HawserError } from "../../../src/common/errors.ts";
import type { Milliseconds } from "../../../src/common/units.ts";
import { silentLogger } from "../../../src/observe/logger.ts";
import { MemoryStore } from "../../../src/store/memory-store.ts";
import type { ListPage, ListQuery, RequestOptions } from "../../../src/store/object-store.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import type {
  Caller,
  DirentSink,
  Entry,
  FileType,
  Filesystem,
  NodeId,
  OpenFlags,
} from "../../../src/vfs/filesystem.ts";
import type { VolumeOptions } from "../../../src/vfs/options.ts";
import { createVolumeFilesystem } from "../../../src/vfs/volume-filesystem.ts";

export class FakeClock implements Clock {
  #time = 1_000_000;
  #timers: { at: number; fn: () => void }[] = [];

  now(): number {
    return 1_700_000_000_000 + this.#time;
  }

  monotonic(): number {
    return this.#time;
  }

  get timers(): number {
    return this.#timers.length;
  }

  after(ms: Milliseconds, fn: () => void): () => void {
    const timer = { at: this.#time + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  advance(ms: Milliseconds): void {
    const end = this.#time + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#time = Math.max(this.#time, due.at);
      this.#timers = this.#timers.filter((other) => other !== due);
      due.fn();
    }
    this.#time = end;
  }
}

/** A bucket in memory that records its listings and can be held up or made to fail. */
export class TestBucket extends MemoryStore {
  readonly lists: ListQuery[] = [];
  heads: string[] = [];
  /** Pages are at most this long. */
  pageKeys = 1000;
  /** What listings reject with, while set. */
  failure: HawserError | undefined;
  /** What HEADs reject with, while set. */
  headFailure: HawserError | undefined;
  #gates: { query: ListQuery; open: () => void }[] = [];
  #held: (query: ListQuery) => boolean = () => false;

  override async list(query: ListQuery, options?: RequestOptions): Promise<ListPage> {
    this.lists.push(query);
    if (this.#held(query)) {
      await new Promise<void>((resolve, reject) => {
        this.#gates.push({ query, open: resolve });
        options?.signal?.addEventListener("abort", () => reject(new HawserError("interrupted", "aborted")));
      });
    }
    if (this.failure) throw this.failure;
    return super.list({ ...query, maxKeys: Math.min(query.maxKeys ?? 1000, this.pageKeys) }, options);
  }

  override async head(...args: Parameters<MemoryStore["head"]>): ReturnType<MemoryStore["head"]> {
    this.heads.push(args[0]);
    if (this.headFailure) throw this.headFailure;
    return super.head(...args);
  }

  /** Holds listings that match until they are let through. */
  hold(held: (query: ListQuery) => boolean = () => true): void {
    this.#held = held;
  }

  /** Queries that are being held. */
  get waiting(): ListQuery[] {
    return this.#gates.map((gate) => gate.query);
  }

  /** Lets the oldest held listing that matches through. */
  async letOne(which: (query: ListQuery) => boolean = () => true): Promise<void> {
    const at = this.#gates.findIndex((gate) => which(gate.query));
    const [gate] = this.#gates.splice(at, 1);
    gate!.open();
    await settle();
  }

  async letAll(): Promise<void> {
    this.#held = () => false;
    for (const gate of this.#gates.splice(0)) gate.open();
    await settle();
  }
}

/** Lets everything that is ready run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Reads straight from the bucket, with the version as condition. */
export class PlainContent implements Content {
  readonly #bucket: Pick<TestBucket, "get">;
  readonly opened: ObjectVersion[] = [];
  open_ = 0;

  constructor(bucket: Pick<TestBucket, "get">) {
    this.#bucket = bucket;
  }

  open(version: ObjectVersion): ContentReader {
    this.opened.push(version);
    this.open_++;
    let closed = false;
    return {
      version,
      read: (offset, length, waiter) => this.#read(version, offset, length, signalOf(waiter)),
      backing: () => undefined,
      close: () => {
        if (!closed) this.open_--;
        closed = true;
      },
    };
  }

  async #read(version: ObjectVersion, offset: number, length: number, signal?: AbortSignal): Promise<Span> {
    const wanted = Math.max(0, Math.min(length, version.sizeBytes - offset));
    const target = Buffer.alloc(wanted);
    if (wanted > 0) {
      try {
        const request = { key: version.key, offset, length: wanted, ifMatch: version.etag };
        await this.#bucket.get(request, target, { signal });
      } catch (error) {
        if (HawserError.is(error, "object_changed", "not_found")) throw new HawserError("stale", "gone");
        throw error;
      }
    }
    return { chunks: [target], lengthBytes: wanted, release() {} };
  }

  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

export function caller(signal: AbortSignal = new AbortController().signal): Caller {
  return { uid: 1000, gid: 1000, pid: 4242, waiter: signal, signal };
}

export const READ: OpenFlags = {
  read: true,
  write: false,
  append: false,
  truncate: false,
  exclusive: false,
  sync: false,
  direct: false,
};

export interface TestVolume {
  fs: ReturnType<typeof createVolumeFilesystem>;
  bucket: TestBucket;
  clock: FakeClock;
  content: PlainContent;
}

/** A volume over a bucket with these objects. */
export function volume(objects: Record<string, string> = {}, options: VolumeOptions = {}): TestVolume {
  const clock = new FakeClock();
  const bucket = new TestBucket({ objects, clock });
  const content = new PlainContent(bucket);
  const fs = createVolumeFilesystem({
    store: bucket,
    content,
    clock,
    logger: silentLogger,
    options: { uid: 1000, gid: 1000, ...options },
  });
  return { fs, bucket, clock, content };
}

/** Looks a path up name by name, as the kernel does. */
export async function resolve(fs: Filesystem, path: string): Promise<Entry> {
  let entry: Entry | undefined;
  let at: NodeId = ROOT;
  for (const name of path.split("/")) {
    entry = await fs.lookup(at, name, caller());
    if (entry.nodeId === 0) return entry;
    at = entry.nodeId;
  }
  return entry!;
}

export interface Listed {
  name: string;
  ino: number;
  type: FileType;
  offset: number;
  /** With attributes only. */
  nodeId: NodeId | undefined;
  sizeBytes: number | undefined;
  ttlMs: number | undefined;
}

/** A sink with room for so many entries. */
export class Sink implements DirentSink {
  readonly plus: boolean;
  readonly entries: Listed[] = [];
  #room: number;

  constructor(plus: boolean, room = Infinity) {
    this.plus = plus;
    this.#room = room;
  }

  add(name: Uint8Array, ino: number, type: FileType, offset: number): boolean {
    if (this.#room-- <= 0) return false;
    const text = Buffer.from(name).toString();
    this.entries.push({
      name: text,
      ino,
      type,
      offset,
      nodeId: undefined,
      sizeBytes: undefined,
      ttlMs: undefined,
    });
    return true;
  }

  addPlus(name: Uint8Array, entry: Entry, offset: number): boolean {
    if (this.#room-- <= 0) return false;
    const { ino, type, sizeBytes } = entry.attributes;
    const text = Buffer.from(name).toString();
    this.entries.push({
      name: text,
      ino,
      type,
      offset,
      nodeId: entry.nodeId,
      sizeBytes,
      ttlMs: entry.entryTtlMs,
    });
    return true;
  }
}

/** Reads a whole folder in pages of `room` entries, without `.` and `..`. */
export async function list(
  fs: Filesystem,
  nodeId: NodeId = ROOT,
  { plus = true, room = Infinity } = {},
): Promise<Listed[]> {
  const { handle } = await fs.opendir(nodeId, caller());
  const all: Listed[] = [];
  for (let offset = 0; ; offset = all.at(-1)!.offset) {
    const sink = new Sink(plus, room);
    await fs.readdir(handle, offset, sink, caller());
    if (sink.entries.length === 0) break;
    all.push(...sink.entries);
  }
  fs.releasedir(handle);
  return all.filter((entry) => entry.name !== "." && entry.name !== "..");
}

export async function names(fs: Filesystem, nodeId: NodeId = ROOT, options = {}): Promise<string[]> {
  return (await list(fs, nodeId, options)).map((entry) => entry.name);
}

/** Every path of the volume, sorted; folders with a slash behind. */
export async function walk(fs: Filesystem, nodeId: NodeId = ROOT, path = ""): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await list(fs, nodeId)) {
    if (entry.type !== "directory") paths.push(path + entry.name);
    else paths.push(`${path}${entry.name}/`, ...(await walk(fs, entry.nodeId ?? 0, `${path}${entry.name}/`)));
  }
  return paths.sort();
}

export async function readText(fs: Filesystem, nodeId: NodeId): Promise<string> {
  const { handle } = await fs.open(nodeId, READ, caller());
  const reply = await fs.read(handle, 0, 1 << 20, caller());
  const text = Buffer.concat(reply.chunks).toString();
  reply.release();
  await fs.release(handle, undefined);
  return text;
}
