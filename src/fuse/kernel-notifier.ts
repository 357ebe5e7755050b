/**
 * KernelNotifier: the Kernel that a filesystem gets from the native channel.
 *
 * Notifications go out from the addon's own thread, in order; each promise resolves when the kernel has taken it, also
 * when it had nothing to forget, and also when the connection ends first: what it would have forgotten is gone then.
 */
import { constants } from "node:os";
import type { NativeConnection } from "../common/native.ts";
import type { Bytes } from "../common/units.ts";
import type { Logger } from "../observe/logger.ts";
import type { AnsweredOpens, Kernel, NodeId } from "../vfs/filesystem.ts";
import type { ChannelSettings } from "./channel.ts";
import { putU64 } from "./encode.ts";
import { NotifyCode, OUT_HEADER_BYTES } from "./protocol.ts";
import { fileFlags } from "./replies.ts";

const INVAL_ENTRY_BYTES = 16;
const INVAL_INODE_BYTES = 24;
const ID_LIMIT = 0x1_0000_0000;
const USES = ["unused", "used", "open"] as const;

export class KernelNotifier implements Kernel {
  readonly passthrough: boolean;
  readonly answeredOpens: AnsweredOpens | undefined;
  readonly #connection: NativeConnection;
  readonly #logger: Logger;
  readonly #waiting = new Map<number, (errno: number) => void>();
  #nextId = 0;

  constructor(connection: NativeConnection, settings: ChannelSettings, logger: Logger) {
    this.#connection = connection;
    this.passthrough = settings.passthrough;
    this.#logger = logger;
    this.answeredOpens = settings.passthrough ? answeredOpens(connection) : undefined;
  }

  async invalidateEntry(parent: NodeId, name: Uint8Array): Promise<void> {
    const message = new Uint8Array(OUT_HEADER_BYTES + INVAL_ENTRY_BYTES + name.length + 1);
    const words = new Uint32Array(message.buffer, 0, (OUT_HEADER_BYTES + INVAL_ENTRY_BYTES) / 4);
    putU64(words, 4, parent);
    words[6] = name.length;
    message.set(name, OUT_HEADER_BYTES + INVAL_ENTRY_BYTES);
    await this.#notify(NotifyCode.INVAL_ENTRY, message, words);
  }

  async invalidateInode(nodeId: NodeId, offset: Bytes, length: Bytes): Promise<void> {
    const message = new Uint8Array(OUT_HEADER_BYTES + INVAL_INODE_BYTES);
    const words = new Uint32Array(message.buffer);
    putU64(words, 4, nodeId);
    putU64(words, 6, offset);
    putU64(words, 8, length);
    await this.#notify(NotifyCode.INVAL_INODE, message, words);
  }

  /** Asks for every request again that the kernel still waits for. @returns false where the kernel cannot */
  async resend(): Promise<boolean> {
    const message = new Uint8Array(OUT_HEADER_BYTES);
    return (await this.#notify(NotifyCode.RESEND, message, new Uint32Array(message.buffer))) === 0;
  }

  openBacking(fd: number): number | undefined {
    if (!this.passthrough) return undefined;
    const id = this.#connection.openBacking(fd);
    if (id >= 0) return id;
    this.#logger.debug({ errno: -id }, "the kernel refused a backing file");
    return undefined;
  }

  closeBacking(backingId: number): void {
    this.#connection.closeBacking(backingId);
  }

  /** Takes `count` pairs of id and errno from the connection. */
  settle(count: number): void {
    const { notified } = this.#connection;
    for (let i = 0; i < count; i++) this.#settled(notified[2 * i]!, notified[2 * i + 1]!);
  }

  /** Once the connection was stopped. */
  settleAll(): void {
    for (const id of this.#waiting.keys()) this.#settled(id, 0);
  }

  #settled(id: number, errno: number): void {
    const resolve = this.#waiting.get(id >>> 0);
    this.#waiting.delete(id >>> 0);
    // ENOENT: the kernel had it no more. ENOTEMPTY and EBUSY: a folder in use, which it looks up again when it must.
    resolve?.(errno);
  }

  #notify(code: number, message: Uint8Array, words: Uint32Array): Promise<number> {
    words[0] = message.length;
    words[1] = code;
    const id = this.#nextId;
    this.#nextId = (id + 1) % ID_LIMIT;
    return new Promise((resolve) => {
      this.#waiting.set(id, (errno) => {
        if (errno !== 0 && errno !== constants.errno.ENOENT) {
          this.#logger.debug({ code, errno }, "the kernel refused a notification");
        }
        resolve(errno);
      });
      if (this.#connection.notify(message, id) !== 0) this.#settled(id, 0);
    });
  }
}

function answeredOpens(connection: NativeConnection): AnsweredOpens {
  return {
    begin: (nodeId, reply) =>
      void connection.answerOpens(nodeId, reply.handle, fileFlags(reply), reply.backingId ?? 0),
    end: (nodeId) => connection.endAnswering(nodeId),
    use: (nodeId) => USES[connection.answeredUse(nodeId)],
    counts: () => ({ open: connection.answeredNow, total: connection.answeredTotal }),
  };
}
