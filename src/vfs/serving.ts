/**
 * Serving: whether the kernel reads and writes a file itself, for as long as it is open.
 *
 * Carries out what writable-open-policy.ts decides, keeps the registration of the one backing file of each node id, and
 * knows for which node ids the kernel's page cache has been passed by: their next cached open must not keep it.
 */
import type { Kernel, NodeId, OpenFlags, OpenReply } from "./filesystem.ts";
import type { Inode } from "./inodes.ts";
import { decideWritableOpen } from "./writable-open-policy.ts";
import type { WritableOpenDecision } from "./writable-open-policy.ts";

export class Serving {
  #kernel: Kernel | undefined;
  /** Node ids whose bytes have changed without the kernel's page cache. */
  readonly #stalePages = new Set<NodeId>();
  readonly #syncIsLocal: boolean;

  /** @param syncIsLocal synchronous writes are done when they are on the local disk */
  constructor(syncIsLocal: boolean) {
    this.#syncIsLocal = syncIsLocal;
  }

  attach(kernel: Kernel): void {
    this.#kernel = kernel;
  }

  get passthrough(): boolean {
    return this.#kernel?.passthrough ?? false;
  }

  /** True when each write of such an open must reach the bucket before it is answered. */
  isSynchronous(flags: OpenFlags): boolean {
    return flags.sync && !this.#syncIsLocal;
  }

  /** How an open would be served now. */
  decide(inode: Inode, flags: OpenFlags): WritableOpenDecision {
    const inputs = {
      passthrough: this.passthrough,
      state: inode.serving,
      direct: flags.direct,
      sync: this.isSynchronous(flags),
    };
    // To ask for the backing file is to say that the kernel may get it: only when all else speaks for it.
    const decision = decideWritableOpen({ ...inputs, staged: inode.staged ? "whole" : "none" });
    if (decision !== "passthrough" || inode.serving === "passthrough") return decision;
    const staged = inode.staged?.backing() === undefined ? "partly" : "whole";
    return decideWritableOpen({ ...inputs, staged });
  }

  /** Begins to serve an open. `counted` says that `leave` must be called for it. */
  join(inode: Inode, flags: OpenFlags): { reply: Omit<OpenReply, "handle" | "noFlush">; counted: boolean } {
    const decision = this.decide(inode, flags);
    if (decision === "direct") {
      if (flags.write) this.#stalePages.add(inode.nodeId);
      return { reply: { keepCache: false, directIo: true }, counted: false };
    }
    const backingId = decision === "passthrough" ? this.#backing(inode) : undefined;
    inode.served++;
    if (backingId !== undefined) {
      inode.serving = "passthrough";
      if (flags.write) this.#stalePages.add(inode.nodeId);
      return { reply: { keepCache: false, directIo: false, backingId }, counted: true };
    }
    inode.serving = "cached";
    const keepCache = !this.#stalePages.delete(inode.nodeId);
    return { reply: { keepCache, directIo: false }, counted: true };
  }

  leave(inode: Inode): void {
    if (--inode.served > 0) return;
    inode.serving = "closed";
    if (inode.backingId !== undefined) this.#kernel?.closeBacking(inode.backingId);
    inode.backingId = undefined;
  }

  /** The bytes have changed behind the kernel's back. */
  pagesChanged(nodeId: NodeId): void {
    this.#stalePages.add(nodeId);
  }

  forget(nodeId: NodeId): void {
    if (this.#stalePages.size > 0) this.#stalePages.delete(nodeId);
  }

  /** @returns undefined when the kernel refuses the file */
  #backing(inode: Inode): number | undefined {
    if (inode.backingId !== undefined) return inode.backingId;
    const fd = inode.staged?.backing();
    inode.backingId = fd === undefined ? undefined : this.#kernel?.openBacking(fd);
    return inode.backingId;
  }
}
