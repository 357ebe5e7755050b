/**
 * Operation: what one opcode asks of the filesystem and how its result is answered.
 *
 * Operations are data, in tables by opcode (operations-read.ts, operations-write.ts); the adapter around them sees to
 * waiting, errors, interruption, and that there is exactly one reply.
 */
import { constants } from "node:fs";
import type { MaybePromise } from "../common/maybe-promise.ts";
import type { Entry, Filesystem, OpenFlags } from "../vfs/filesystem.ts";
import type { Replies } from "./replies.ts";
import type { Request } from "./request.ts";

export interface Operation<T> {
  readonly name: string;
  /** Decodes the arguments and asks. The arguments' memory is only valid within this call. */
  call(filesystem: Filesystem, request: Request): MaybePromise<T>;
  /** Sends the reply. */
  answer(value: T, request: Request, replies: Replies): void;
  /** Takes back what the filesystem did for a caller who was killed meanwhile and never learns of it. */
  undo?(value: T, filesystem: Filesystem, request: Request): MaybePromise<void>;
}

/** By opcode. Results pass through the adapter unseen, hence `unknown`. */
export type OperationTable = readonly (Operation<unknown> | undefined)[];

export function table(...entries: [opcode: number, operation: Operation<unknown>][]): OperationTable {
  const operations: (Operation<unknown> | undefined)[] = [];
  for (const [opcode, operation] of entries) operations[opcode] = operation;
  return operations;
}

/** An operation with its result's type checked from call to answer. */
export function operation<T>(definition: Operation<T>): Operation<unknown> {
  return definition;
}

export function answerEmpty(_value: void, request: Request, replies: Replies): void {
  replies.empty(request);
}

export function answerEntry(entry: Entry, request: Request, replies: Replies): void {
  replies.entry(request, entry);
}

/** An entry that never reached the kernel holds no reference there. */
export function forgetEntry(entry: Entry, filesystem: Filesystem): void {
  if (entry.nodeId !== 0) filesystem.forget(entry.nodeId, 1);
}

const ACCESS_MODE = 3;

/** In `open_flags`: somebody who may not keep them truncates. FUSE_OPEN_KILL_SUIDGID of linux/fuse.h. */
const OPEN_KILL_SUIDGID = 1;
/** Among open(2)'s flags: the kernel opens a program to run it. __FMODE_EXEC of linux/fs.h. */
const OPEN_EXECUTE = 0x20;

/** open(2)'s flags as the kernel passes them on, and what it adds of its own. */
export function openFlags(flags: number, kernelFlags = 0): OpenFlags {
  const access = flags & ACCESS_MODE;
  return {
    read: access === constants.O_RDONLY || access === constants.O_RDWR,
    write: access === constants.O_WRONLY || access === constants.O_RDWR,
    append: (flags & constants.O_APPEND) !== 0,
    truncate: (flags & constants.O_TRUNC) !== 0,
    exclusive: (flags & constants.O_EXCL) !== 0,
    sync: (flags & constants.O_DSYNC) !== 0,
    direct: (flags & constants.O_DIRECT) !== 0,
    ...(flags & OPEN_EXECUTE ? { execute: true } : {}),
    ...(kernelFlags & OPEN_KILL_SUIDGID ? { killSuidGid: true } : {}),
  };
}
