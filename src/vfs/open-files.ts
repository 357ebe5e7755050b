/**
 * Open files: handles, each pinned to one object version, and what is open of each node id.
 *
 * A handle reads the version that was current when it was opened, whatever happens to the name. A node id that is open
 * through a backing file keeps one registration with the kernel, shared by all its opens.
 *
 * When the last of them ends, the channel may go on answering opens of the node by itself ("answered"), all under that
 * last handle. The node is taken back when its version ends, when the cache wants the file, or when an open comes that
 * has to be asked for; opens that go on then are ours to count.
 */
import { HawserError } from "../common/errors.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Backing, ContentReader } from "../cache/content.ts";
import type { AnsweredOpens, HandleId, Kernel, NodeId, OpenReply } from "./filesystem.ts";
import { decideOpen } from "./open-policy.ts";
import type { OpenState } from "./open-policy.ts";

export interface OpenFile {
  readonly nodeId: NodeId;
  readonly reader: ContentReader;
  /** Counts in the node's state; direct opens stand beside it. */
  readonly counted: boolean;
  /** More than one where the channel has answered opens with this handle; none while it does. */
  opens: number;
}

interface OpenNode {
  readonly state: Exclude<OpenState, "closed">;
  opens: number;
  readonly backing?: Backing;
  /** The handle that the channel answers opens with. */
  answeredWith?: HandleId | undefined;
}

export class OpenFiles {
  readonly #files = new Map<HandleId, OpenFile>();
  readonly #nodes = new Map<NodeId, OpenNode>();
  readonly #takeHandle: () => HandleId;
  readonly #mayAnswer: ((nodeId: NodeId) => boolean) | undefined;
  #kernel: Kernel | undefined;
  #answered = 0;

  /**
   * @param mayAnswer whether an open of the node would be granted now: then the channel may answer it by itself. Absent where
   *   every open is to be asked for
   */
  constructor(takeHandle: () => HandleId, mayAnswer?: (nodeId: NodeId) => boolean) {
    this.#takeHandle = takeHandle;
    this.#mayAnswer = mayAnswer;
  }

  get size(): number {
    return this.#files.size - this.#answered + (this.#answeredOpens?.counts().open ?? 0);
  }

  /** Opens that the channel has answered by itself. */
  get answeredTotal(): number {
    return this.#answeredOpens?.counts().total ?? 0;
  }

  /** Node ids that are open by way of a backing file, or may be without our being told. */
  get passthroughNodes(): number {
    let count = 0;
    for (const node of this.#nodes.values()) if (node.state === "passthrough") count++;
    return count;
  }

  attach(kernel: Kernel): void {
    this.#kernel = kernel;
  }

  get #answeredOpens(): AnsweredOpens | undefined {
    return this.#mayAnswer ? this.#kernel?.answeredOpens : undefined;
  }

  /** Opens a version. Waits only where its backing file has to be opened first. */
  open(nodeId: NodeId, reader: ContentReader, direct: boolean): MaybePromise<OpenReply> {
    const offered = this.#kernel?.passthrough ?? false;
    this.endAnswering(nodeId);
    if (direct || !offered || this.#nodes.has(nodeId))
      return this.#openWith(nodeId, reader, direct, undefined);
    const backing = reader.backing(this.#kernel!);
    if (!(backing instanceof Promise)) return this.#openWith(nodeId, reader, direct, backing);
    return backing.then((file) => this.#openWith(nodeId, reader, direct, file));
  }

  #openWith(nodeId: NodeId, reader: ContentReader, direct: boolean, backing: Backing | undefined): OpenReply {
    // While the backing file was being opened another open may have come and gone.
    this.endAnswering(nodeId);
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
    return this.#reply(nodeId, reader, true, howOf(joined));
  }

  get(handle: HandleId): OpenFile {
    const file = this.#files.get(handle);
    if (file === undefined) throw new HawserError("bad_handle", `No file is open as handle ${handle}.`);
    return file;
  }

  /** Ends an open. Unknown handles are ignored. */
  release(handle: HandleId): void {
    const file = this.#files.get(handle);
    if (file === undefined || file.opens === 0) return;
    file.opens--;
    const node = file.counted ? this.#nodes.get(file.nodeId)! : undefined;
    if (node && --node.opens === 0 && this.#answer(handle, file, node)) return;
    this.#end(handle, file, node);
  }

  /** Opens of the node are asked for again: it is not the version of its name any more, or somebody wants the file. */
  endAnswering(nodeId: NodeId): void {
    const node = this.#answered > 0 ? this.#nodes.get(nodeId) : undefined;
    const handle = node?.answeredWith;
    if (node === undefined || handle === undefined) return;
    const file = this.#files.get(handle)!;
    node.answeredWith = undefined;
    this.#answered--;
    node.opens = file.opens = this.#answeredOpens!.end(nodeId);
    node.backing!.wake();
    if (node.opens === 0) this.#end(handle, file, node);
  }

  close(): void {
    for (const nodeId of this.#nodes.keys()) this.endAnswering(nodeId);
    for (const [handle, file] of this.#files) {
      const node = file.counted ? this.#nodes.get(file.nodeId) : undefined;
      if (node) node.opens -= file.opens;
      file.opens = 0;
      this.#end(handle, file, node);
    }
  }

  /** After the node's last open: leaves its next ones to the channel. @returns false where they are asked for */
  #answer(handle: HandleId, file: OpenFile, node: OpenNode): boolean {
    const answered = this.#answeredOpens;
    const { nodeId } = file;
    if (answered === undefined || file.opens > 0 || !this.#mayAnswer!(nodeId)) return false;
    // What was read through the page cache may be complete by now.
    const backing = node.backing ?? file.reader.backing(this.#kernel!, false);
    if (backing === undefined) return false;
    if (backing instanceof Promise) {
      void backing.then((late) => late?.release());
      return false;
    }
    answered.begin(nodeId, openReply(handle, { backingId: backing.backingId }));
    this.#nodes.set(nodeId, { state: "passthrough", opens: 0, backing, answeredWith: handle });
    this.#answered++;
    backing.rest({ wanted: () => this.endAnswering(nodeId), use: () => answered.use(nodeId) });
    return true;
  }

  /** Lets go of what nobody has open any more. */
  #end(handle: HandleId, file: OpenFile, node: OpenNode | undefined): void {
    if (file.opens === 0) {
      this.#files.delete(handle);
      file.reader.close();
    }
    if (node === undefined || node.opens > 0) return;
    this.#nodes.delete(file.nodeId);
    node.backing?.release();
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
    this.#files.set(handle, { nodeId, reader, counted, opens: 1 });
    return openReply(handle, how);
  }
}

function howOf(node: OpenNode): Partial<OpenReply> {
  return node.backing ? { backingId: node.backing.backingId } : { keepCache: true };
}

function openReply(handle: HandleId, how: Partial<OpenReply>): OpenReply {
  return { handle, keepCache: false, directIo: false, noFlush: true, ...how };
}
