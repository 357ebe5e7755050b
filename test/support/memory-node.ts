/**
 * Nodes of the in-memory filesystem: one object per node id, the way the kernel sees them.
 *
 * A path keeps its inode number while its content is exchanged; each version of it is a node of its own with a node id
 * of its own, as the Filesystem interface asks.
 */
import type { Attributes, FileType, NodeId } from "../../src/vfs/filesystem.ts";
import { SparseContent } from "./sparse-content.ts";

export interface MemoryNode {
  readonly id: NodeId;
  readonly ino: number;
  readonly type: FileType;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
  parent: MemoryNode | undefined;
  name: string;
  /** Files only. */
  content: SparseContent;
  /** Folders only. */
  children: Map<string, MemoryNode>;
  readonly rdev: number | undefined;
  /** Symlinks only. */
  target: string;
  xattrs: Map<string, Uint8Array>;
  /** References the kernel holds. */
  lookups: number;
  /** Another version took this one's place: an open must be answered `stale`. */
  retired: boolean;
}

/** A moment in the past that both a test and the tree agree on: 2024-02-29T12:34:56.789Z. */
export const TREE_TIME_MS = 1_709_210_096_789;

export interface NewNode {
  type: FileType;
  /** Device nodes only. */
  rdev?: number;
  mode?: number;
  uid?: number;
  gid?: number;
  content?: SparseContent;
  target?: string;
  timeMs?: number;
}

/** Makes nodes and finds them by id or path. */
export class MemoryTree {
  readonly root: MemoryNode;
  readonly #byId = new Map<NodeId, MemoryNode>();
  #nextId = 1;
  #nextIno = 1;

  constructor() {
    this.root = this.#make({ type: "directory" }, this.#nextIno++);
  }

  get(id: NodeId): MemoryNode | undefined {
    return this.#byId.get(id);
  }

  /** References over all nodes but the root, which the kernel holds without counting. */
  outstandingLookups(): number {
    let sum = 0;
    for (const node of this.#byId.values()) if (node !== this.root) sum += node.lookups;
    return sum;
  }

  /** Every path with references, for a message that says what leaked. */
  referenced(): string[] {
    return [...this.#byId.values()]
      .filter((node) => node.lookups > 0)
      .map((node) => `${this.pathOf(node)} (${node.lookups})`);
  }

  add(parent: MemoryNode, name: string, options: NewNode): MemoryNode {
    const node = this.#make(options, this.#nextIno++);
    this.link(parent, name, node);
    return node;
  }

  link(parent: MemoryNode, name: string, node: MemoryNode): void {
    node.parent = parent;
    node.name = name;
    parent.children.set(name, node);
    if (node.type === "directory") parent.nlink++;
  }

  unlink(parent: MemoryNode, name: string): void {
    const node = parent.children.get(name);
    parent.children.delete(name);
    if (node?.type === "directory") parent.nlink--;
  }

  /** Puts a new version in a file's place: another node id, the same inode number. */
  replace(node: MemoryNode, content: SparseContent, timeMs: number): MemoryNode {
    const next = this.#make({ type: "file", mode: node.mode, content, timeMs }, node.ino);
    node.retired = true;
    this.link(node.parent!, node.name, next);
    return next;
  }

  /** Follows a path of names from the root, without symlinks. */
  find(path: string): MemoryNode | undefined {
    let node: MemoryNode | undefined = this.root;
    for (const name of path.split("/").filter(Boolean)) node = node?.children.get(name);
    return node;
  }

  pathOf(node: MemoryNode): string {
    const names: string[] = [];
    for (let at: MemoryNode | undefined = node; at?.parent; at = at.parent) names.unshift(at.name);
    return `/${names.join("/")}`;
  }

  attributes(node: MemoryNode): Attributes {
    const { ino, type, mode, nlink, uid, gid, atimeMs, mtimeMs, ctimeMs } = node;
    const sizeBytes =
      type === "symlink"
        ? Buffer.byteLength(node.target)
        : type === "directory"
          ? 4096
          : node.content.sizeBytes;
    const blocks = type === "file" ? node.content.blocks : 0;
    const { rdev } = node;
    return { ino, type, sizeBytes, mode, nlink, uid, gid, atimeMs, mtimeMs, ctimeMs, blocks, rdev };
  }

  #make(options: NewNode, ino: number): MemoryNode {
    const timeMs = options.timeMs ?? TREE_TIME_MS;
    const isFolder = options.type === "directory";
    const node: MemoryNode = {
      id: this.#nextId++,
      ino,
      type: options.type,
      mode: options.mode ?? (isFolder ? 0o755 : options.type === "symlink" ? 0o777 : 0o644),
      uid: options.uid ?? process.getuid!(),
      gid: options.gid ?? process.getgid!(),
      nlink: isFolder ? 2 : 1,
      atimeMs: timeMs,
      mtimeMs: timeMs,
      ctimeMs: timeMs,
      parent: undefined,
      name: "",
      content: options.content ?? new SparseContent(0),
      children: new Map(),
      rdev: options.rdev,
      target: options.target ?? "",
      xattrs: new Map(),
      lookups: 0,
      retired: false,
    };
    this.#byId.set(node.id, node);
    return node;
  }
}
