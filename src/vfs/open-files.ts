/**
 * Open files: handles, each pinned to one object version, and what is open of each node id.
 *
 * A handle reads the version that was current when it was opened, whatever happens to the name. A node id that is open
 * through a backing file keeps one registration with the kernel, shared by all its opens and given up with the last.
 */
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Backing, ContentReader } from "../cache/content.ts";
import type { HandleId, Kernel, NodeId, OpenReply } from "./filesystem.ts";
import { decideOpen } from "./open-policy.ts";
import type { OpenState } from "./open-policy.ts";

export interface OpenFile {
  readonly nodeId: NodeId;
  readonly reader: ContentReader;
  /** Counts in the node's state; direct opens stand beside it. */
  readonly counted: boolean;
}

interface OpenNode {
  state: Exclude<OpenState, "closed">;
  opens: number;
  backing?: Backing;
}

export class OpenFiles {
  readonly #files = new Map<HandleId, OpenFile>();
  readonly #nodes = new Map<NodeId, OpenNode>();
  readonly #takeHandle: () => HandleId;
  #kernel: Kernel | undefined;

  constructor(takeHandle: () => HandleId) {
    this.#takeHandle = takeHandle;
  }

  get size(): number {
    return this.#files.size;
  }

  /** Node ids that are open by way of a backing file. */
  get passthroughNodes(): number {
    let count = 0;
    for (const node of this.#nodes.values()) if (node.state === "passthrough") count++;
    return count;
  }

  attach(kernel: Kernel): void {
    this.#kernel = kernel;
  }

  /** Opens a version. Waits only where its backing file has to be opened first. */
  open(nodeId: NodeId, reader: ContentReader, direct: boolean): MaybePromise<OpenReply> {
    const offered = this.#kernel?.passthrough ?? false;
    if (direct || !offered || this.#nodes.has(nodeId))
      return this.#openWith(nodeId, reader, direct, undefined);
    const backing = reader.backing(this.#kernel!);
    if (!(backing instanceof Promise)) return this.#openWith(nodeId, reader, direct, backing);
    return backing.then((file) => this.#openWith(nodeId, reader, direct, file));
  }

  #openWith(nodeId: NodeId, reader: ContentReader, direct: boolean, backing: Backing | undefined): OpenReply {
    const decision = decideOpen({
      completeLocally: backing !== undefined,
      passthrough: this.#kernel?.passthrough ?? false,
      // Asked for here: another open may have decided while the backing file was being opened.
      state: this.#nodes.get(nodeId)?.state ?? "closed",
      direct,
    });
    if (decision.kind === "direct") return this.#reply(nodeId, reader, false, { directIo: true });
    const node = this.#nodes.get(nodeId);
    if (node !== undefined) backing?.release();
    const joined = node ?? this.#addNode(nodeId, backing);
    joined.opens++;
    const how = joined.backing ? { backingId: joined.backing.backingId } : { keepCache: true };
    return this.#reply(nodeId, reader, true, how);
  }

  get(handle: HandleId): OpenFile {
    const file = this.#files.get(handle);
    if (file === undefined) throw new HawserError("bad_handle", `No file is open as handle ${handle}.`);
    return file;
  }

  /** Ends an open. Unknown handles are ignored. */
  release(handle: HandleId): void {
    const file = this.#files.get(handle);
    if (file === undefined) return;
    this.#files.delete(handle);
    file.reader.close();
    if (!file.counted) return;
    const node = this.#nodes.get(file.nodeId)!;
    if (--node.opens > 0) return;
    this.#nodes.delete(file.nodeId);
    node.backing?.release();
  }

  close(): void {
    for (const handle of this.#files.keys()) this.release(handle);
  }

  #addNode(nodeId: NodeId, backing: Backing | undefined): OpenNode {
    const node: OpenNode = backing
      ? { state: "passthrough", opens: 0, backing }
      : { state: "cached", opens: 0 };
    this.#nodes.set(nodeId, node);
    return node;
  }

  #reply(nodeId: NodeId, reader: ContentReader, counted: boolean, how: Partial<OpenReply>): OpenReply {
    const handle = this.#takeHandle();
    this.#files.set(handle, { nodeId, reader, counted });
    return { handle, keepCache: false, directIo: false, noFlush: true, ...how };
  }
}
