/**
 * Adapter: requests in, Filesystem calls, replies out. It decides nothing about files.
 *
 * Every request that has a reply gets exactly one. A result that is there at once is answered at once, and the Request
 * is reused; one that has to wait is kept in `#waiting` under its unique number. When its caller is killed meanwhile,
 * EINTR is answered right then, the caller's signal fires, and whatever the filesystem still answers is taken back.
 * What goes wrong without a HawserError is a bug: it is logged and becomes EIO. ENOSYS answers unknown opcodes only,
 * because the kernel would never ask again.
 */
import { constants } from "node:os";
import { HawserError } from "../common/errors.ts";
import type { Logger } from "../observe/logger.ts";
import type { Filesystem } from "../vfs/filesystem.ts";
import { DirentBuffer } from "./dirent-buffer.ts";
import { errnoOf } from "./errno.ts";
import { InterruptWatch } from "./interrupt-watch.ts";
import type { Operation, OperationTable } from "./operation.ts";
import { READ_OPERATIONS } from "./operations-read.ts";
import { WRITE_OPERATIONS } from "./operations-write.ts";
import { Opcode, TWO_32, UNIQUE_RESEND_HIGH } from "./protocol.ts";
import type { Replies } from "./replies.ts";
import { Request, type RequestMemory } from "./request.ts";

/** Of the reader's 64 slots, how many WRITEs may hold; the rest stay free so that INTERRUPT is always read. */
const KEPT_SLOTS_MAX = 48;
/** Readdir buffers kept for reuse. */
const SPARE_DIRENTS = 16;

const OPERATIONS: OperationTable = mergeTables(READ_OPERATIONS, WRITE_OPERATIONS);

export interface AdapterOptions {
  filesystem: Filesystem;
  memory: RequestMemory;
  replies: Replies;
  logger: Logger;
  /** Gives back the slot of a WRITE that had to wait. */
  giveBack: (slot: number) => void;
  /** Answers INIT. */
  onInit: (request: Request) => void;
}

export class Adapter {
  readonly #filesystem: Filesystem;
  readonly #memory: RequestMemory;
  readonly #replies: Replies;
  readonly #logger: Logger;
  readonly #giveBack: (slot: number) => void;
  readonly #onInit: (request: Request) => void;
  /** Requests whose filesystem call has not settled and that are not answered, by Request.key. */
  readonly #waiting = new Map<number, Request>();
  readonly #interrupts: InterruptWatch;
  readonly #spareDirents: DirentBuffer[] = [];
  #spare: Request;
  #keptSlots = 0;

  constructor(options: AdapterOptions) {
    this.#filesystem = options.filesystem;
    this.#memory = options.memory;
    this.#replies = options.replies;
    this.#logger = options.logger;
    this.#giveBack = options.giveBack;
    this.#onInit = options.onInit;
    this.#spare = new Request(options.memory);
    this.#interrupts = new InterruptWatch((request) => this.#abandon(request, constants.errno.EINTR));
  }

  /**
   * Handles the request at byte `at` of the memory.
   *
   * @returns true when it keeps `slot` until the request is done
   */
  dispatch(at: number, slot: number): boolean {
    const request = this.#spare;
    request.load(at);
    switch (request.opcode) {
      case Opcode.FORGET:
        this.#filesystem.forget(request.nodeId, request.u64(0));
        return false;
      case Opcode.BATCH_FORGET:
        this.#batchForget(request);
        return false;
      case Opcode.INTERRUPT:
        this.#interrupt(request);
        return false;
      case Opcode.NOTIFY_REPLY:
        return false;
      case Opcode.INIT:
        this.#onInit(request);
        return false;
      default:
        return this.#call(request, slot);
    }
  }

  /** Answers everything that waits with EIO. For when the connection ends. */
  abandonAll(): void {
    for (const request of this.#waiting.values()) this.#abandon(request, constants.errno.EIO);
    this.#interrupts.close();
  }

  #call(request: Request, slot: number): boolean {
    const operation = OPERATIONS[request.opcode];
    if (!operation) {
      this.#logger.debug({ opcode: request.opcode }, "an opcode that is not known");
      this.#replies.error(request, constants.errno.ENOSYS);
      return false;
    }
    if (request.opcode === Opcode.READDIRPLUS || request.opcode === Opcode.READDIR)
      this.#lendDirents(request);
    request.mayKeepSlot = this.#keptSlots < KEPT_SLOTS_MAX;
    let result: unknown;
    try {
      result = operation.call(this.#filesystem, request);
    } catch (error) {
      this.#fail(operation, request, error);
      this.#reclaimDirents(request);
      return false;
    }
    if (!(result instanceof Promise)) {
      this.#answer(operation, request, result);
      this.#reclaimDirents(request);
      return false;
    }
    this.#spare = new Request(this.#memory);
    this.#wait(operation, request, result);
    if (request.opcode !== Opcode.WRITE || !request.mayKeepSlot) return false;
    request.slot = slot;
    this.#keptSlots++;
    return true;
  }

  #wait(operation: Operation<unknown>, request: Request, result: Promise<unknown>): void {
    const { key } = request;
    this.#waiting.set(key, request);
    result
      .then(
        (value) => {
          request.alone = this.#waiting.size === 1;
          if (request.answered) this.#undo(operation, request, value);
          else this.#answer(operation, request, value);
        },
        (error: unknown) => {
          if (!request.answered) this.#fail(operation, request, error);
        },
      )
      .finally(() => {
        // An abandoned request has left the map already, and its number may have come again by a resend.
        if (this.#waiting.get(key) === request) this.#waiting.delete(key);
        this.#reclaimDirents(request);
        if (request.slot < 0) return;
        this.#keptSlots--;
        this.#giveBack(request.slot);
      })
      .catch((error: unknown) => this.#logger.error({ error }, "a request could not be finished"));
  }

  #answer(operation: Operation<unknown>, request: Request, value: unknown): void {
    try {
      operation.answer(value, request, this.#replies);
    } catch (error) {
      if (request.answered) this.#logger.error({ error, operation: operation.name }, "after a reply");
      else this.#fail(operation, request, error);
      return;
    }
    if (request.answered) return;
    this.#logger.error({ operation: operation.name }, "a request was left without a reply");
    this.#replies.error(request, constants.errno.EIO);
  }

  #fail(operation: Operation<unknown>, request: Request, error: unknown): void {
    // Entries already taken have been counted as references: the kernel must get them, and asks again for the rest.
    if (request.dirents && !request.dirents.isEmpty) {
      this.#replies.dirents(request, request.dirents);
      return;
    }
    if (!HawserError.is(error) || error.code === "internal") {
      this.#logger.error({ error, operation: operation.name, nodeId: request.nodeId }, "an operation broke");
    }
    this.#replies.error(request, errnoOf(error));
  }

  #abandon(request: Request, errno: number): void {
    if (request.answered) return;
    this.#waiting.delete(request.key);
    this.#replies.error(request, errno);
    request.waiter.cancel();
  }

  #undo(operation: Operation<unknown>, request: Request, value: unknown): void {
    const failed = (error: unknown): void =>
      this.#logger.error(
        { error, operation: operation.name },
        "an abandoned operation could not be taken back",
      );
    try {
      const undone = operation.undo?.(value, this.#filesystem, request);
      if (undone instanceof Promise) undone.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #lendDirents(request: Request): void {
    const dirents = this.#spareDirents.pop() ?? new DirentBuffer();
    dirents.begin(request.u32(16), request.opcode === Opcode.READDIRPLUS);
    request.dirents = dirents;
  }

  #reclaimDirents(request: Request): void {
    const { dirents } = request;
    request.dirents = undefined;
    if (dirents && this.#spareDirents.length < SPARE_DIRENTS) this.#spareDirents.push(dirents);
  }

  #interrupt(request: Request): void {
    const key = request.u32(0) + (request.u32(4) & ~UNIQUE_RESEND_HIGH) * TWO_32;
    // One that is not waiting was answered while the INTERRUPT was on its way.
    const target = this.#waiting.get(key);
    if (target) this.#interrupts.add(target);
  }

  #batchForget(request: Request): void {
    const count = request.u32(0);
    for (let at = 8; at < 8 + 16 * count; at += 16) {
      this.#filesystem.forget(request.u64(at), request.u64(at + 8));
    }
  }
}

function mergeTables(...tables: OperationTable[]): OperationTable {
  const merged: (Operation<unknown> | undefined)[] = [];
  for (const table of tables) for (const [opcode, operation] of table.entries()) merged[opcode] ??= operation;
  return merged;
}
