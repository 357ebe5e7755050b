/** Operations that change something. Offsets are those of the structs in linux/fuse.h. */
import type { AttributesReply, Entry, OpenReply, SetAttributes } from "../vfs/filesystem.ts";
import { answerEmpty, answerEntry, forgetEntry, openFlags, operation, table } from "./operation.ts";
import {
  Opcode,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  SetattrValid,
  WRITE_KILL_SUIDGID,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "./protocol.ts";
import type { Request } from "./request.ts";

const WRITE_IN_BYTES = 40;
const SETXATTR_IN_BYTES = 8;

const setattr = operation<AttributesReply>({
  name: "setattr",
  call: (filesystem, request) => filesystem.setattr(request.nodeId, changesOf(request), request),
  answer: (reply, request, replies) => replies.attributes(request, reply),
});

function changesOf(request: Request): SetAttributes {
  const valid = request.u32(0);
  const changes: SetAttributes = {};
  if (valid & SetattrValid.FH) changes.handle = request.u64(8);
  if (valid & SetattrValid.SIZE) changes.sizeBytes = request.u64(16);
  if (valid & SetattrValid.ATIME) changes.atimeMs = timeAt(request, 32, 56);
  if (valid & SetattrValid.ATIME_NOW) changes.atimeMs = "now";
  if (valid & SetattrValid.MTIME) changes.mtimeMs = timeAt(request, 40, 60);
  if (valid & SetattrValid.MTIME_NOW) changes.mtimeMs = "now";
  if (valid & SetattrValid.CTIME) changes.ctimeMs = timeAt(request, 48, 64);
  if (valid & SetattrValid.MODE) changes.mode = request.u32(68) & 0o7777;
  if (valid & SetattrValid.UID) changes.uid = request.u32(76);
  if (valid & SetattrValid.GID) changes.gid = request.u32(80);
  if (valid & SetattrValid.KILL_SUIDGID) changes.killSuidGid = true;
  return changes;
}

/** Cut to whole microseconds: what a double holds of the rest can carry over into the microsecond before or after. */
function timeAt(request: Request, seconds: number, nanoseconds: number): number {
  return request.i64(seconds) * 1000 + Math.floor(request.u32(nanoseconds) / 1000) / 1000;
}

const symlink = operation<Entry>({
  name: "symlink",
  call: (filesystem, request) =>
    filesystem.symlink(request.nodeId, request.name(0), request.name(request.afterName(0)), request),
  answer: answerEntry,
  undo: forgetEntry,
});

const mknod = operation<Entry>({
  name: "mknod",
  call: (filesystem, request) =>
    filesystem.mknod(request.nodeId, request.name(16), request.u32(0), request.u32(4), request),
  answer: answerEntry,
  undo: forgetEntry,
});

const mkdir = operation<Entry>({
  name: "mkdir",
  call: (filesystem, request) =>
    filesystem.mkdir(request.nodeId, request.name(8), request.u32(0) & 0o7777, request),
  answer: answerEntry,
  undo: forgetEntry,
});

const unlink = operation<void>({
  name: "unlink",
  call: (filesystem, request) => filesystem.unlink(request.nodeId, request.name(0), request),
  answer: answerEmpty,
});

const rmdir = operation<void>({
  name: "rmdir",
  call: (filesystem, request) => filesystem.rmdir(request.nodeId, request.name(0), request),
  answer: answerEmpty,
});

const rename = operation<void>({
  name: "rename",
  call(filesystem, request) {
    const from = { parent: request.nodeId, name: request.name(8) };
    const to = { parent: request.u64(0), name: request.name(request.afterName(8)) };
    return filesystem.rename(from, to, { noReplace: false, exchange: false }, request);
  },
  answer: answerEmpty,
});

const rename2 = operation<void>({
  name: "rename2",
  call(filesystem, request) {
    const flags = request.u32(8);
    const from = { parent: request.nodeId, name: request.name(16) };
    const to = { parent: request.u64(0), name: request.name(request.afterName(16)) };
    const noReplace = (flags & RENAME_NOREPLACE) !== 0;
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    return filesystem.rename(from, to, { noReplace, exchange }, request);
  },
  answer: answerEmpty,
});

const link = operation<Entry>({
  name: "link",
  call: (filesystem, request) => filesystem.link(request.u64(0), request.nodeId, request.name(8), request),
  answer: answerEntry,
  undo: forgetEntry,
});

const create = operation<{ entry: Entry; open: OpenReply }>({
  name: "create",
  call(filesystem, request) {
    const flags = openFlags(request.u32(0), request.u32(12));
    return filesystem.create(request.nodeId, request.name(16), request.u32(4) & 0o7777, flags, request);
  },
  answer: ({ entry, open }, request, replies) => replies.create(request, entry, open),
  undo({ entry, open }, filesystem) {
    forgetEntry(entry, filesystem);
    return filesystem.release(open.handle, undefined);
  },
});

const write = operation<number>({
  name: "write",
  call(filesystem, request) {
    const killSuidGid = (request.u32(20) & WRITE_KILL_SUIDGID) !== 0;
    const inPlace = request.data(WRITE_IN_BYTES, request.u32(16));
    // Where the slot cannot be kept until the write is done, the filesystem gets a copy.
    const data = request.mayKeepSlot ? inPlace : Uint8Array.from(inPlace);
    return filesystem.write(request.u64(0), request.u64(8), data, { killSuidGid }, request);
  },
  answer: (taken, request, replies) => replies.size(request, taken),
});

const fallocate = operation<void>({
  name: "fallocate",
  call: (filesystem, request) =>
    filesystem.fallocate(request.u64(0), request.u32(24), request.u64(8), request.u64(16), request),
  answer: answerEmpty,
});

const copyFileRange = operation<number>({
  name: "copyFileRange",
  call(filesystem, request) {
    const from = { handle: request.u64(0), offset: request.u64(8) };
    const to = { handle: request.u64(24), offset: request.u64(32) };
    return filesystem.copyFileRange(from, to, request.u64(40), request);
  },
  answer: (copied, request, replies) => replies.size(request, copied),
});

const setxattr = operation<void>({
  name: "setxattr",
  call(filesystem, request) {
    const flags = request.u32(4);
    const name = request.name(SETXATTR_IN_BYTES);
    // Small and kept by nobody knows whom: a copy.
    const value = Uint8Array.from(request.data(request.afterName(SETXATTR_IN_BYTES), request.u32(0)));
    const create = (flags & XATTR_CREATE) !== 0;
    const replace = (flags & XATTR_REPLACE) !== 0;
    return filesystem.setxattr(request.nodeId, name, value, { create, replace }, request);
  },
  answer: answerEmpty,
});

const removexattr = operation<void>({
  name: "removexattr",
  call: (filesystem, request) => filesystem.removexattr(request.nodeId, request.name(0), request),
  answer: answerEmpty,
});

export const WRITE_OPERATIONS = table(
  [Opcode.SETATTR, setattr],
  [Opcode.SYMLINK, symlink],
  [Opcode.MKNOD, mknod],
  [Opcode.MKDIR, mkdir],
  [Opcode.UNLINK, unlink],
  [Opcode.RMDIR, rmdir],
  [Opcode.RENAME, rename],
  [Opcode.RENAME2, rename2],
  [Opcode.LINK, link],
  [Opcode.CREATE, create],
  [Opcode.WRITE, write],
  [Opcode.FALLOCATE, fallocate],
  [Opcode.COPY_FILE_RANGE, copyFileRange],
  [Opcode.SETXATTR, setxattr],
  [Opcode.REMOVEXATTR, removexattr],
);
