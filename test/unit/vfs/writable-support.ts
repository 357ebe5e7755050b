/** A writable volume without a kernel: bucket, clock and content of the read-only tests, and write-back in memory. */
import { silentLogger } from "../../../src/observe/logger.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import type { Kernel, NodeId, OpenFlags } from "../../../src/vfs/filesystem.ts";
import type { VolumeOptions } from "../../../src/vfs/options.ts";
import { createWritableFilesystem, WritableFilesystem } from "../../../src/vfs/writable-filesystem.ts";
import { FakeWriteBack } from "../../support/fake-write-back.ts";
import type { Harness } from "../writeback/harness.ts";
import { caller, FakeClock, PlainContent, READ, resolve, TestBucket } from "./support.ts";

export const WRITE: OpenFlags = { ...READ, read: false, write: true };
export const READ_WRITE: OpenFlags = { ...READ, write: true };
export const TRUNCATE: OpenFlags = { ...WRITE, truncate: true };
export const NO_FLAGS = { noReplace: false, exchange: false };
/** A write that leaves set-user-ID as it is. */
export const KEEP = { killSuidGid: false };

/** A kernel that notes what it is told. */
export class FakeKernel implements Kernel {
  readonly passthrough: boolean;
  readonly backings = new Map<number, number>();
  readonly forgotten: string[] = [];
  #lastId = 0;

  constructor(passthrough: boolean) {
    this.passthrough = passthrough;
  }

  async invalidateEntry(parent: NodeId, name: Uint8Array): Promise<void> {
    this.forgotten.push(`${parent} ${Buffer.from(name).toString()}`);
  }

  async invalidateInode(): Promise<void> {}

  openBacking(fd: number): number {
    this.backings.set(++this.#lastId, fd);
    return this.#lastId;
  }

  closeBacking(id: number): void {
    this.backings.delete(id);
  }
}

export interface WritableVolume {
  fs: WritableFilesystem;
  bucket: TestBucket;
  clock: FakeClock;
  content: PlainContent;
  writeBack: FakeWriteBack;
  kernel: FakeKernel;
  /** Processes that are being killed. */
  killed: Set<number>;
}

export interface WritableVolumeOptions extends VolumeOptions {
  passthrough?: boolean;
  fsync?: "bucket" | "local";
  /** Called before the filesystem is made. */
  before?: (writeBack: FakeWriteBack) => void;
}

/** A filesystem whose write-back is the real one, over a local folder. @param killed processes that are being killed */
export async function filesystemOver(
  { store, clock, wb }: Harness,
  killed: ReadonlySet<number> = new Set(),
): Promise<WritableFilesystem> {
  return await createWritableFilesystem({
    store,
    content: new PlainContent(store),
    clock,
    logger: silentLogger,
    writeBack: wb,
    isBeingKilled: (pid) => killed.has(pid),
    options: { metadata: "full" },
  });
}

export async function writable(
  objects: Record<string, string> = {},
  { passthrough = false, fsync, before, ...options }: WritableVolumeOptions = {},
): Promise<WritableVolume> {
  const clock = new FakeClock();
  const bucket = new TestBucket({ objects, clock });
  const content = new PlainContent(bucket);
  const writeBack = new FakeWriteBack(bucket, () => clock.now());
  const killed = new Set<number>();
  before?.(writeBack);
  const fs = new WritableFilesystem({
    store: bucket,
    content,
    clock,
    logger: silentLogger,
    writeBack,
    fsync,
    isBeingKilled: (pid) => killed.has(pid),
    options: { uid: 1000, gid: 1000, metadata: "full", ...options },
  });
  await fs.restore();
  const kernel = new FakeKernel(passthrough);
  fs.attach(kernel);
  return { fs, bucket, clock, content, writeBack, kernel, killed };
}

/** Node id of the folder of a path, and its last name. */
export async function locate(
  fs: WritableFilesystem,
  path: string,
): Promise<{ parent: NodeId; name: string }> {
  const at = path.lastIndexOf("/");
  if (at < 0) return { parent: ROOT, name: path };
  const { nodeId } = await resolve(fs, path.slice(0, at));
  if (nodeId === 0) throw new Error(`no folder ${path.slice(0, at)}`);
  return { parent: nodeId, name: path.slice(at + 1) };
}

/** Opens a path as a process does that may be killed later. */
export async function open(volume: WritableVolume, path: string, flags = READ_WRITE, pid = 4242) {
  const { nodeId } = await resolve(volume.fs, path);
  return { nodeId, ...(await volume.fs.open(nodeId, flags, { ...caller(), pid })) };
}

/** Writes a file as a shell's `>` does. */
export async function put(fs: WritableFilesystem, path: string, text: string): Promise<NodeId> {
  const { parent, name } = await locate(fs, path);
  const { entry, open } = await fs.create(parent, name, 0o644, TRUNCATE, caller());
  await fs.write(open.handle, 0, Buffer.from(text), { killSuidGid: false }, caller());
  await fs.flush(open.handle, 0n, caller());
  await fs.release(open.handle);
  return entry.nodeId;
}

export async function mkdir(fs: WritableFilesystem, path: string, mode = 0o755): Promise<NodeId> {
  const { parent, name } = await locate(fs, path);
  return (await fs.mkdir(parent, name, mode, caller())).nodeId;
}

export async function mv(fs: WritableFilesystem, from: string, to: string, flags = NO_FLAGS): Promise<void> {
  await fs.rename(await locate(fs, from), await locate(fs, to), flags, caller());
}

export async function rm(fs: WritableFilesystem, path: string): Promise<void> {
  const { parent, name } = await locate(fs, path);
  await fs.unlink(parent, name, caller());
}

export async function rmdir(fs: WritableFilesystem, path: string): Promise<void> {
  const { parent, name } = await locate(fs, path);
  await fs.rmdir(parent, name, caller());
}

/** The text of a path, looked up as the kernel does. */
export async function cat(fs: WritableFilesystem, path: string): Promise<string> {
  const { nodeId } = await resolve(fs, path);
  if (nodeId === 0) throw new Error(`no ${path}`);
  const { handle } = await fs.open(nodeId, READ, caller());
  const text = await readHandle(fs, handle);
  await fs.release(handle);
  return text;
}

export async function readHandle(fs: WritableFilesystem, handle: number, offset = 0): Promise<string> {
  const reply = await fs.read(handle, offset, 1 << 20, caller());
  const text = Buffer.concat(reply.chunks).toString();
  reply.release();
  return text;
}

export async function stat(fs: WritableFilesystem, path: string) {
  const { nodeId } = await resolve(fs, path);
  if (nodeId === 0) throw new Error(`no ${path}`);
  return (await fs.getattr(nodeId, undefined, caller())).attributes;
}

/** Every object of the bucket, with its text. */
export async function objects(bucket: TestBucket): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  const page = await bucket.list({ prefix: "" });
  for (const { key, sizeBytes } of page.objects) {
    const bytes = Buffer.alloc(sizeBytes);
    if (sizeBytes > 0) await bucket.get({ key }, bytes);
    all[key] = bytes.toString();
  }
  return all;
}

export async function metadataOf(bucket: TestBucket, key: string): Promise<Record<string, string>> {
  return (await bucket.head(key)).metadata;
}
