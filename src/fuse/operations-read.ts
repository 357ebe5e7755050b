/** Operations that look: names, attributes, reading, folders. Offsets are those of the structs in linux/fuse.h. */
import { HawserError } from "../common/errors.ts";
import type {
  AttributesReply,
  Entry,
  Filesystem,
  OpenReply,
  ReadReply,
  StatfsReply,
} from "../vfs/filesystem.ts";
import { answerEmpty, answerEntry, forgetEntry, openFlags, operation, table } from "./operation.ts";
import {
  FSYNC_FDATASYNC,
  GETATTR_FH,
  Opcode,
  RELEASE_FLOCK_UNLOCK,
  SEEK_DATA,
  SEEK_HOLE,
} from "./protocol.ts";
import type { Replies } from "./replies.ts";
import type { Request } from "./request.ts";

const lookup = operation<Entry>({
  name: "lookup",
  call: (filesystem, request) => filesystem.lookup(request.nodeId, lookedUpName(request), request),
  answer: answerEntry,
  undo: forgetEntry,
});

/** No object has a name that is not UTF-8, so looking for one finds nothing. */
function lookedUpName(request: Request): string {
  try {
    return request.name(0);
  } catch {
    throw new HawserError("not_found", "No object has a name that is not valid UTF-8.");
  }
}

const getattr = operation<AttributesReply>({
  name: "getattr",
  call(filesystem, request) {
    const handle = request.u32(0) & GETATTR_FH ? request.u64(8) : undefined;
    return filesystem.getattr(request.nodeId, handle, request);
  },
  answer: (reply, request, replies) => replies.attributes(request, reply),
});

const readlink = operation<string>({
  name: "readlink",
  call: (filesystem, request) => filesystem.readlink(request.nodeId, request),
  answer: (target, request, replies) => replies.data(request, Buffer.from(target)),
});

const statfs = operation<StatfsReply>({
  name: "statfs",
  call: (filesystem, request) => filesystem.statfs(request.nodeId, request),
  answer: (reply, request, replies) => replies.statfs(request, reply),
});

const open = operation<OpenReply>({
  name: "open",
  call: (filesystem, request) =>
    filesystem.open(request.nodeId, openFlags(request.u32(0), request.u32(4)), request),
  answer: (reply, request, replies) => replies.open(request, reply),
  undo: (reply, filesystem) => filesystem.release(reply.handle, undefined),
});

const read = operation<ReadReply>({
  name: "read",
  call(filesystem, request) {
    request.size = request.u32(16);
    return filesystem.read(request.u64(0), request.u64(8), request.size, request);
  },
  answer(reply, request, replies) {
    if (reply.lengthBytes <= request.size) return replies.chunks(request, reply);
    reply.release();
    throw new HawserError("internal", "A read answered with more than it was asked for.");
  },
  undo: (reply) => reply.release(),
});

const release = operation<void>({
  name: "release",
  call(filesystem, request) {
    const unlocks = request.u32(12) & RELEASE_FLOCK_UNLOCK;
    return filesystem.release(request.u64(0), unlocks ? request.bigU64(16) : undefined);
  },
  answer: answerEmpty,
});

const flush = operation<void>({
  name: "flush",
  call: (filesystem, request) => filesystem.flush(request.u64(0), request.bigU64(16), request),
  answer: answerEmpty,
});

const fsync = operation<void>({
  name: "fsync",
  call: (filesystem, request) => filesystem.fsync(request.u64(0), isDataOnly(request), request),
  answer: answerEmpty,
});

function isDataOnly(request: Request): boolean {
  return (request.u32(8) & FSYNC_FDATASYNC) !== 0;
}

const lseek = operation<number>({
  name: "lseek",
  call(filesystem, request) {
    const whence = request.u32(16);
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) {
      throw new HawserError("invalid_argument", "Only data and holes are looked for.");
    }
    return filesystem.lseek(request.u64(0), request.u64(8), whence === SEEK_DATA ? "data" : "hole", request);
  },
  answer: (found, request, replies) => replies.offset(request, found),
});

const opendir = operation<OpenReply>({
  name: "opendir",
  call: (filesystem, request) => filesystem.opendir(request.nodeId, request),
  answer: (reply, request, replies) => replies.openFolder(request, reply),
  undo: (reply, filesystem) => filesystem.releasedir(reply.handle),
});

/** The adapter has put the buffer at `request.dirents`, and takes it back. */
const readdir = operation<void>({
  name: "readdir",
  call: (filesystem, request) =>
    filesystem.readdir(request.u64(0), request.u64(8), request.dirents!, request),
  answer: (_value, request, replies) => replies.dirents(request, request.dirents!),
  undo: (_value, filesystem, request) =>
    request.dirents!.eachNodeId((nodeId) => filesystem.forget(nodeId, 1)),
});

const releasedir = operation<void>({
  name: "releasedir",
  call: (filesystem, request) => filesystem.releasedir(request.u64(0)),
  answer: answerEmpty,
});

const fsyncdir = operation<void>({
  name: "fsyncdir",
  call: (filesystem, request) => filesystem.fsyncdir(request.u64(0), isDataOnly(request), request),
  answer: answerEmpty,
});

const getxattr = operation<Uint8Array>({
  name: "getxattr",
  call(filesystem, request) {
    request.size = request.u32(0);
    return filesystem.getxattr(request.nodeId, request.name(8), request);
  },
  answer: answerSized,
});

const listxattr = operation<Uint8Array>({
  name: "listxattr",
  call(filesystem, request) {
    request.size = request.u32(0);
    const names = filesystem.listxattr(request.nodeId, request);
    return names instanceof Promise ? names.then(joinNames) : joinNames(names);
  },
  answer: answerSized,
});

function joinNames(names: string[]): Uint8Array {
  return Buffer.from(names.map((name) => `${name}\0`).join(""));
}

/** A size of 0 asks how much room is needed. */
function answerSized(value: Uint8Array, request: Request, replies: Replies): void {
  if (request.size === 0) return replies.size(request, value.length);
  if (value.length <= request.size) return replies.data(request, value);
  throw new HawserError("result_too_large", "The extended attributes do not fit the buffer given.");
}

/** Ends the mount; nothing is left to do by then. */
const destroy = operation<void>({
  name: "destroy",
  call(_filesystem: Filesystem) {},
  answer: answerEmpty,
});

export const READ_OPERATIONS = table(
  [Opcode.LOOKUP, lookup],
  [Opcode.GETATTR, getattr],
  [Opcode.READLINK, readlink],
  [Opcode.STATFS, statfs],
  [Opcode.OPEN, open],
  [Opcode.READ, read],
  [Opcode.RELEASE, release],
  [Opcode.FLUSH, flush],
  [Opcode.FSYNC, fsync],
  [Opcode.LSEEK, lseek],
  [Opcode.OPENDIR, opendir],
  [Opcode.READDIR, readdir],
  [Opcode.READDIRPLUS, readdir],
  [Opcode.RELEASEDIR, releasedir],
  [Opcode.FSYNCDIR, fsyncdir],
  [Opcode.GETXATTR, getxattr],
  [Opcode.LISTXATTR, listxattr],
  [Opcode.DESTROY, destroy],
);
