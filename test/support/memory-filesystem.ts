/**
 * A whole Filesystem in memory, for tests and benchmarks of channels.
 *
 * It does what a local file system would do, counts everything the kernel asks, and can be told to misbehave: to fail
 * an operation on a path (`failures`), or to let reads of a path wait until the test says so (`gates`). Methods answer
 * synchronously wherever they can, so that a channel is measured and not this.
 */
import { HawserError, type ErrorCode } from "../../src/common/errors.ts";
import { typeOfMode } from "../../src/vfs/file-type.ts";
import type { MaybePromise } from "../../src/common/maybe-promise.ts";
import type {
  AttributesReply,
  Caller,
  DirentSink,
  Entry,
  Filesystem,
  HandleId,
  Kernel,
  NodeId,
  OpenFlags,
  OpenReply,
  ReadReply,
  SetAttributes,
  StatfsReply,
} from "../../src/vfs/filesystem.ts";
import { MemoryTree, type MemoryNode, type NewNode } from "./memory-node.ts";
import { ReadGates } from "./read-gates.ts";
import type { SparseContent } from "./sparse-content.ts";

export interface MemoryFilesystemOptions {
  /** Refuse every change, as a read-only volume does. */
  readOnly?: boolean | undefined;
  /** How long the kernel may believe names and attributes. */
  ttlMs?: number | undefined;
  /** Answer opens with keepCache. */
  keepCache?: boolean | undefined;
  /** Answer opens with directIo. */
  directIo?: boolean | undefined;
}

interface Handle {
  readonly node: MemoryNode;
  readonly writable: boolean;
  /** Folders: the entries as they were at opendir. */
  readonly entries: [string, MemoryNode][];
}

const NAME_MAX_BYTES = 255;
const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;

export class MemoryFilesystem implements Filesystem {
  readonly tree = new MemoryTree();
  readonly gates = new ReadGates();
  /** `operation path` (or `operation *`) to the code it fails with. */
  readonly failures = new Map<string, ErrorCode>();
  /** How often each operation was asked for. */
  readonly counts: Record<string, number> = {};
  /** Called when the kernel has dropped references. */
  onForget: () => void = () => {};
  kernel: Kernel | undefined;
  closed = false;
  readonly #handles = new Map<HandleId, Handle>();
  readonly #options: MemoryFilesystemOptions;
  readonly #ttlMs: number;
  #nextHandle = 1;

  constructor(options: MemoryFilesystemOptions = {}) {
    this.#options = options;
    this.#ttlMs = options.ttlMs ?? 1000;
  }

  get openHandles(): number {
    return this.#handles.size;
  }

  attach(kernel: Kernel): void {
    this.kernel = kernel;
  }

  lookup(parent: NodeId, name: string): MaybePromise<Entry> {
    const folder = this.#folder("lookup", parent, name);
    this.#checkName(name);
    const node = folder.children.get(name);
    if (!node) {
      const attributes = this.tree.attributes(this.tree.root);
      return { nodeId: 0, attributes, entryTtlMs: 0, attributeTtlMs: 0 };
    }
    return this.#reference(node);
  }

  forget(nodeId: NodeId, count: number): void {
    this.#count("forget");
    const node = this.tree.get(nodeId);
    if (!node) return;
    node.lookups -= count;
    this.onForget();
  }

  getattr(nodeId: NodeId): AttributesReply {
    const node = this.#node("getattr", nodeId);
    return { attributes: this.tree.attributes(node), attributeTtlMs: this.#ttlMs };
  }

  setattr(nodeId: NodeId, changes: SetAttributes): AttributesReply {
    const node = this.#change("setattr", nodeId);
    const now = Date.now();
    if (changes.mode !== undefined) node.mode = changes.mode;
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.sizeBytes !== undefined) {
      node.content.resize(changes.sizeBytes);
      node.mtimeMs = now;
    }
    if (changes.killSuidGid) node.mode &= ~0o6000;
    if (changes.atimeMs !== undefined) node.atimeMs = changes.atimeMs === "now" ? now : changes.atimeMs;
    if (changes.mtimeMs !== undefined) node.mtimeMs = changes.mtimeMs === "now" ? now : changes.mtimeMs;
    node.ctimeMs = now;
    return { attributes: this.tree.attributes(node), attributeTtlMs: this.#ttlMs };
  }

  readlink(nodeId: NodeId): string {
    return this.#node("readlink", nodeId).target;
  }

  statfs(): StatfsReply {
    this.#count("statfs");
    return {
      blockSize: 4096,
      blocks: 1_000_000,
      blocksFree: 600_000,
      blocksAvailable: 500_000,
      files: 7777,
      filesFree: 3333,
      nameMax: NAME_MAX_BYTES,
    };
  }

  open(nodeId: NodeId, flags: OpenFlags): MaybePromise<OpenReply> {
    const node = flags.write ? this.#change("open", nodeId) : this.#node("open", nodeId);
    if (node.type === "directory") throw failure("is_a_directory", node.name);
    if (node.retired) throw failure("stale", node.name);
    if (flags.truncate) node.content.resize(0);
    return this.#openReply({ node, writable: flags.write, entries: [] });
  }

  read(id: HandleId, offset: number, length: number, caller: Caller): MaybePromise<ReadReply> {
    const { node } = this.#handle("read", id);
    const answer = (): ReadReply => {
      const chunks = node.content.read(offset, length);
      const lengthBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      return { chunks, lengthBytes, release: this.#released };
    };
    if (this.gates.isOpen) return answer();
    return this.gates.pass(this.tree.pathOf(node), caller).then(answer);
  }

  readonly #released = (): void => this.#count("readReleased");

  write(id: HandleId, offset: number, data: Uint8Array, flags: { killSuidGid: boolean }): number {
    const handle = this.#handle("write", id);
    if (!handle.writable) throw failure("bad_handle", handle.node.name);
    handle.node.content.write(offset, data);
    handle.node.mtimeMs = Date.now();
    if (flags.killSuidGid) handle.node.mode &= ~0o6000;
    return data.length;
  }

  flush(id: HandleId): void {
    this.#handle("flush", id);
  }

  fsync(id: HandleId): void {
    this.#handle("fsync", id);
  }

  release(id: HandleId): void {
    this.#handle("release", id);
    this.#handles.delete(id);
  }

  fallocate(id: HandleId, mode: number, offset: number, length: number): void {
    const { content } = this.#handle("fallocate", id).node;
    if ((mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE)) !== 0)
      throw failure("not_supported", "fallocate mode");
    if (mode & FALLOC_PUNCH_HOLE) content.punch(offset, length);
    else if (!(mode & FALLOC_KEEP_SIZE)) content.resize(Math.max(content.sizeBytes, offset + length));
  }

  lseek(id: HandleId, offset: number, whence: "data" | "hole"): number {
    const { node } = this.#handle("lseek", id);
    const found = node.content.seek(offset, whence);
    if (found === undefined) throw failure("beyond_end", node.name);
    return found;
  }

  copyFileRange(
    from: { handle: HandleId; offset: number },
    to: { handle: HandleId; offset: number },
    length: number,
  ): number {
    const source = this.#handle("copyFileRange", from.handle).node.content;
    const target = this.#handle("copyFileRange", to.handle).node.content;
    let copied = 0;
    for (const chunk of source.read(from.offset, length)) {
      target.write(to.offset + copied, chunk);
      copied += chunk.length;
    }
    return copied;
  }

  opendir(nodeId: NodeId): OpenReply {
    const node = this.#folder("opendir", nodeId);
    return this.#openReply({ node, writable: false, entries: [...node.children] });
  }

  readdir(id: HandleId, offset: number, sink: DirentSink): void {
    const { node, entries } = this.#handle("readdir", id);
    const dots: [string, MemoryNode][] = [
      [".", node],
      ["..", node.parent ?? node],
    ];
    for (let at = offset; at < entries.length + dots.length; at++) {
      const [name, child] = dots[at] ?? entries[at - dots.length]!;
      const bytes = Buffer.from(name);
      if (at < dots.length || !sink.plus) {
        if (!sink.add(bytes, child.ino, child.type, at + 1)) return;
        continue;
      }
      if (!sink.addPlus(bytes, this.#entry(child), at + 1)) return;
      child.lookups++;
    }
    this.#check("readdirEnd", this.tree.pathOf(node));
  }

  releasedir(id: HandleId): void {
    this.#handle("releasedir", id);
    this.#handles.delete(id);
  }

  fsyncdir(id: HandleId): void {
    this.#handle("fsyncdir", id);
  }

  create(
    parent: NodeId,
    name: string,
    mode: number,
    flags: OpenFlags,
    caller: Caller,
  ): { entry: Entry; open: OpenReply } {
    const node = this.#add("create", parent, name, { type: "file", mode: mode & 0o7777 }, caller);
    return {
      entry: this.#reference(node),
      open: this.#openReply({ node, writable: flags.write, entries: [] }),
    };
  }

  mkdir(parent: NodeId, name: string, mode: number, caller: Caller): Entry {
    return this.#reference(
      this.#add("mkdir", parent, name, { type: "directory", mode: mode & 0o7777 }, caller),
    );
  }

  symlink(parent: NodeId, name: string, target: string, caller: Caller): Entry {
    return this.#reference(this.#add("symlink", parent, name, { type: "symlink", target }, caller));
  }

  mknod(parent: NodeId, name: string, mode: number, rdev: number, caller: Caller): Entry {
    const type = typeOfMode(mode) ?? "file";
    return this.#reference(this.#add("mknod", parent, name, { type, mode: mode & 0o7777, rdev }, caller));
  }

  link(_nodeId: NodeId, _parent: NodeId, name: string): Entry {
    this.#count("link");
    throw failure("not_permitted", name);
  }

  unlink(parent: NodeId, name: string): void {
    const folder = this.#changeFolder("unlink", parent, name);
    const node = child(folder, name);
    if (node.type === "directory") throw failure("is_a_directory", name);
    node.nlink = 0;
    this.tree.unlink(folder, name);
  }

  rmdir(parent: NodeId, name: string): void {
    const folder = this.#changeFolder("rmdir", parent, name);
    const node = child(folder, name);
    if (node.type !== "directory") throw failure("not_a_directory", name);
    if (node.children.size > 0) throw failure("not_empty", name);
    this.tree.unlink(folder, name);
  }

  rename(
    from: { parent: NodeId; name: string },
    to: { parent: NodeId; name: string },
    flags: { noReplace: boolean; exchange: boolean },
  ): void {
    const source = this.#changeFolder("rename", from.parent, from.name);
    const target = this.#changeFolder("rename", to.parent, to.name);
    const node = child(source, from.name);
    const other = target.children.get(to.name);
    if (other && flags.noReplace) throw failure("exists", to.name);
    if (flags.exchange) {
      const swapped = child(target, to.name);
      this.tree.unlink(target, to.name);
      this.tree.link(source, from.name, swapped);
    } else {
      if (other && other.children.size > 0) throw failure("not_empty", to.name);
      if (other) this.tree.unlink(target, to.name);
      this.tree.unlink(source, from.name);
    }
    this.tree.link(target, to.name, node);
  }

  getxattr(nodeId: NodeId, name: string): Uint8Array {
    const value = this.#node("getxattr", nodeId).xattrs.get(name);
    if (!value) throw failure("no_attribute", name);
    return value;
  }

  listxattr(nodeId: NodeId): string[] {
    return [...this.#node("listxattr", nodeId).xattrs.keys()];
  }

  setxattr(
    nodeId: NodeId,
    name: string,
    value: Uint8Array,
    flags: { create: boolean; replace: boolean },
  ): void {
    const { xattrs } = this.#change("setxattr", nodeId);
    if (flags.create && xattrs.has(name)) throw failure("exists", name);
    if (flags.replace && !xattrs.has(name)) throw failure("no_attribute", name);
    xattrs.set(name, Uint8Array.from(value));
  }

  removexattr(nodeId: NodeId, name: string): void {
    if (!this.#change("removexattr", nodeId).xattrs.delete(name)) throw failure("no_attribute", name);
  }

  close(): Promise<void> {
    this.closed = true;
    this.gates.openAll();
    return Promise.resolve();
  }

  /** Exchanges a file's content for a new version: a new node id behind the same path and inode number. */
  replace(path: string, content: SparseContent): MemoryNode {
    return this.tree.replace(this.tree.find(path)!, content, Date.now());
  }

  #entry(node: MemoryNode): Entry {
    return {
      nodeId: node.id,
      attributes: this.tree.attributes(node),
      entryTtlMs: this.#ttlMs,
      attributeTtlMs: this.#ttlMs,
    };
  }

  #reference(node: MemoryNode): Entry {
    node.lookups++;
    return this.#entry(node);
  }

  #openReply(handle: Handle): OpenReply {
    const id = this.#nextHandle++;
    this.#handles.set(id, handle);
    return {
      handle: id,
      keepCache: this.#options.keepCache ?? false,
      directIo: this.#options.directIo ?? false,
      noFlush: false,
    };
  }

  #add(operation: string, parent: NodeId, name: string, options: NewNode, caller: Caller): MemoryNode {
    const folder = this.#changeFolder(operation, parent, name);
    this.#checkName(name);
    if (folder.children.has(name)) throw failure("exists", name);
    return this.tree.add(folder, name, { ...options, uid: caller.uid, gid: caller.gid, timeMs: Date.now() });
  }

  #handle(operation: string, id: HandleId): Handle {
    const handle = this.#handles.get(id);
    if (!handle) throw failure("bad_handle", `${operation} of handle ${id}`);
    this.#check(operation, this.failures.size > 0 ? this.tree.pathOf(handle.node) : "");
    return handle;
  }

  #node(operation: string, id: NodeId): MemoryNode {
    const node = this.tree.get(id);
    if (!node) throw failure("stale", `${operation} of node ${id}`);
    this.#check(operation, this.failures.size > 0 ? this.tree.pathOf(node) : "");
    return node;
  }

  #folder(operation: string, id: NodeId, name?: string): MemoryNode {
    const node = this.tree.get(id);
    if (!node) throw failure("stale", `${operation} in node ${id}`);
    if (node.type !== "directory") throw failure("not_a_directory", node.name);
    this.#check(operation, this.failures.size > 0 ? this.#join(node, name) : "");
    return node;
  }

  #join(folder: MemoryNode, name: string | undefined): string {
    const path = this.tree.pathOf(folder);
    if (name === undefined) return path;
    return path === "/" ? `/${name}` : `${path}/${name}`;
  }

  #change(operation: string, id: NodeId): MemoryNode {
    this.#refuseWhenReadOnly();
    return this.#node(operation, id);
  }

  #changeFolder(operation: string, id: NodeId, name: string): MemoryNode {
    this.#refuseWhenReadOnly();
    return this.#folder(operation, id, name);
  }

  #refuseWhenReadOnly(): void {
    if (this.#options.readOnly) throw failure("volume_readonly", "volume");
  }

  #checkName(name: string): void {
    if (Buffer.byteLength(name) > NAME_MAX_BYTES) throw failure("name_too_long", name);
  }

  #check(operation: string, path: string): void {
    this.#count(operation);
    if (this.failures.size === 0) return;
    const code = this.failures.get(`${operation} ${path}`) ?? this.failures.get(`${operation} *`);
    if (code) throw failure(code, path);
  }

  #count(operation: string): void {
    this.counts[operation] = (this.counts[operation] ?? 0) + 1;
  }
}

function child(
  folder: { children: Map<string, MemoryNode | undefined>; name: string },
  name: string,
): MemoryNode {
  const node = folder.children.get(name);
  if (!node) throw failure("not_found", name);
  return node;
}

function failure(code: ErrorCode, what: string): HawserError {
  return new HawserError(code, `${what}: ${code}`);
}
