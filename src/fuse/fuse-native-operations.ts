/**
 * Operations: libfuse 2's path-based calls, turned into calls of the Filesystem.
 *
 * Every call is answered exactly once, through `#answer`. What libfuse 2 and the package do not tell us is filled in
 * here: who asks (always this process), the flags of a create (read and write), lock owners. What they cannot carry has
 * no call here and the kernel falls back or refuses: fallocate, SEEK_DATA, copy_file_range, rename flags. Folders are
 * read whole at once, because readdir carries no handle; opendir is therefore left out, and permissions are checked by
 * the kernel (default_permissions).
 */
import type Fuse from "fuse-native";
import { Cancellation } from "../common/cancellation.ts";
import { HawserError } from "../common/errors.ts";
import type { Logger } from "../observe/logger.ts";
import type { MaybePromise } from "../common/maybe-promise.ts";
import {
  type Attributes,
  type Caller,
  type DirentSink,
  type Entry,
  type FileType,
  type Filesystem,
  type OpenFlags,
  type SetAttributes,
} from "../vfs/filesystem.ts";
import { errnoOf } from "./errno.ts";
import { OpenFiles } from "./fuse-native-files.ts";
import { Paths, type Place, type Walk } from "./fuse-native-paths.ts";
import { toDirentStat, toOpenFlags, toStat } from "./fuse-native-stat.ts";

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** chown(2)'s "leave as it is". */
const UNCHANGED_ID = 0xffffffff;
/** An object replaced between lookup and open: how often the pair is tried again. */
const OPEN_ATTEMPTS = 3;
/** What a create may do with its new file: the package does not say how it was opened. */
const CREATE_FLAGS: OpenFlags = {
  read: true,
  write: true,
  append: false,
  truncate: false,
  exclusive: false,
  sync: false,
  direct: false,
};

/** The package does not say who asks, nor when they stop asking. */
class OwnProcess implements Caller {
  readonly uid = process.getuid!();
  readonly gid = process.getgid!();
  readonly pid = process.pid;
  readonly waiter = new Cancellation();
  readonly signal = this.waiter.signal;
}

/** An operation's success: nothing, a count of bytes, or values to hand over. */
type Success = void | number | readonly unknown[];

export class PathOperations implements Fuse.Operations {
  readonly #filesystem: Filesystem;
  readonly #logger: Logger;
  readonly #paths: Paths;
  readonly #files = new OpenFiles();

  constructor(filesystem: Filesystem, logger: Logger) {
    this.#filesystem = filesystem;
    this.#logger = logger;
    this.#paths = new Paths(filesystem);
  }

  // Names and attributes.

  getattr(path: string, done: Fuse.Done): void {
    this.#onNode(done, path, async (walk, caller) => [toStat(await this.#attributes(walk, caller))]);
  }

  readlink(path: string, done: Fuse.Done): void {
    this.#onNode(done, path, async ({ nodeId }, caller) => [await this.#filesystem.readlink(nodeId, caller)]);
  }

  statfs(path: string, done: Fuse.Done): void {
    this.#onNode(done, path, async ({ nodeId }, caller) => {
      const reply = await this.#filesystem.statfs(nodeId, caller);
      const { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax } = reply;
      const sizes = {
        bsize: blockSize,
        frsize: blockSize,
        blocks,
        bfree: blocksFree,
        bavail: blocksAvailable,
      };
      return [{ ...sizes, files, ffree: filesFree, favail: filesFree, namemax: nameMax }];
    });
  }

  readdir(path: string, done: (result: number, names?: string[], stats?: Fuse.Stat[]) => void): void {
    this.#onNode(done as Fuse.Done, path, async (walk, caller) => {
      const names = [".", ".."];
      const own = toStat(await this.#attributes(walk, caller));
      const stats = [own, own];
      const { handle } = await this.#filesystem.opendir(walk.nodeId, caller);
      try {
        let next = 0;
        let more = true;
        const take = (name: Uint8Array, ino: number, type: FileType, nextOffset: number): boolean => {
          more = true;
          next = nextOffset;
          const text = Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString();
          if (text === "." || text === "..") return true;
          names.push(text);
          stats.push(toDirentStat(ino, type));
          return true;
        };
        const sink: DirentSink = { plus: false, add: take, addPlus: () => false };
        while (more) {
          more = false;
          await this.#filesystem.readdir(handle, next, sink, caller);
        }
      } finally {
        this.#filesystem.releasedir(handle);
      }
      return [names, stats];
    });
  }

  fsyncdir(path: string, dataOnly: number, _fd: number, done: Fuse.Done): void {
    this.#onNode(done, path, async ({ nodeId }, caller) => {
      const { handle } = await this.#filesystem.opendir(nodeId, caller);
      try {
        await this.#filesystem.fsyncdir(handle, dataOnly !== 0, caller);
      } finally {
        this.#filesystem.releasedir(handle);
      }
    });
  }

  // Open files.

  open(path: string, flags: number, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      for (let attempt = 1; ; attempt++) {
        const walk = await this.#paths.walk(path, caller);
        try {
          this.#files.refuseMixing(path, walk);
          const { handle } = await this.#filesystem.open(walk.nodeId, toOpenFlags(flags), caller);
          return [this.#files.add(handle, path, walk)];
        } catch (error) {
          walk.forget();
          if (!HawserError.is(error, "stale") || attempt === OPEN_ATTEMPTS) throw error;
        }
      }
    });
  }

  create(path: string, mode: number, done: Fuse.Done): void {
    this.#answer(done, (caller) =>
      this.#paths.within(path, caller, async ({ parent, name }) => {
        const made = await this.#filesystem.create(parent, name, mode, CREATE_FLAGS, caller);
        this.#paths.forget(made.entry);
        const walk = await this.#paths.walk(path, caller);
        return [this.#files.add(made.open.handle, path, walk)];
      }),
    );
  }

  read(_path: string, fd: number, into: Buffer, length: number, offset: number, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      const reply = await this.#filesystem.read(this.#files.get(fd).handle, offset, length, caller);
      let at = 0;
      for (const chunk of reply.chunks) {
        into.set(chunk, at);
        at += chunk.length;
      }
      reply.release();
      return at;
    });
  }

  write(_path: string, fd: number, data: Buffer, _length: number, offset: number, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      const { handle } = this.#files.get(fd);
      return this.#filesystem.write(handle, offset, data, { killSuidGid: false }, caller);
    });
  }

  flush(_path: string, fd: number, done: Fuse.Done): void {
    this.#answer(done, async (caller) => this.#filesystem.flush(this.#files.get(fd).handle, 0n, caller));
  }

  fsync(_path: string, dataOnly: number, fd: number, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      await this.#filesystem.fsync(this.#files.get(fd).handle, dataOnly !== 0, caller);
    });
  }

  release(_path: string, fd: number, done: Fuse.Done): void {
    this.#answer(done, async () => {
      const file = this.#files.take(fd);
      try {
        await this.#filesystem.release(file.handle, undefined);
      } finally {
        file.walk.forget();
      }
    });
  }

  // Changes of attributes.

  truncate(path: string, sizeBytes: number, done: Fuse.Done): void {
    this.#setattr(done, path, { sizeBytes });
  }

  ftruncate(_path: string, fd: number, sizeBytes: number, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      const { handle, walk } = this.#files.get(fd);
      await this.#filesystem.setattr(walk.nodeId, { sizeBytes, handle }, caller);
    });
  }

  utimens(path: string, atimeMs: number, mtimeMs: number, done: Fuse.Done): void {
    this.#setattr(done, path, { atimeMs, mtimeMs });
  }

  chmod(path: string, mode: number, done: Fuse.Done): void {
    this.#setattr(done, path, { mode: mode & 0o7777 });
  }

  chown(path: string, uid: number, gid: number, done: Fuse.Done): void {
    this.#setattr(done, path, {
      uid: uid === UNCHANGED_ID ? undefined : uid,
      gid: gid === UNCHANGED_ID ? undefined : gid,
    });
  }

  // Changes of names.

  mknod(path: string, mode: number, device: number, done: Fuse.Done): void {
    this.#make(done, path, ({ parent, name }, caller) =>
      this.#filesystem.mknod(parent, name, mode, device, caller),
    );
  }

  mkdir(path: string, mode: number, done: Fuse.Done): void {
    this.#make(done, path, ({ parent, name }, caller) => this.#filesystem.mkdir(parent, name, mode, caller));
  }

  symlink(target: string, path: string, done: Fuse.Done): void {
    this.#make(done, path, ({ parent, name }, caller) =>
      this.#filesystem.symlink(parent, name, target, caller),
    );
  }

  link(from: string, to: string, done: Fuse.Done): void {
    this.#make(done, to, ({ parent, name }, caller) =>
      this.#paths.with(from, caller, ({ nodeId }) => this.#filesystem.link(nodeId, parent, name, caller)),
    );
  }

  unlink(path: string, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      if (this.#paths.unhide(path)) return;
      await this.#paths.within(path, caller, ({ parent, name }) =>
        this.#filesystem.unlink(parent, name, caller),
      );
    });
  }

  rmdir(path: string, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      this.#refuseHidden(path);
      await this.#paths.within(path, caller, ({ parent, name }) =>
        this.#filesystem.rmdir(parent, name, caller),
      );
    });
  }

  rename(from: string, to: string, done: Fuse.Done): void {
    this.#answer(done, async (caller) => {
      if (Paths.hides(from, to) && this.#files.isOpen(from)) return this.#hide(from, to, caller);
      this.#refuseHidden(to);
      await this.#paths.within(from, caller, (source) =>
        this.#paths.within(to, caller, (target) =>
          this.#filesystem.rename(source, target, { noReplace: false, exchange: false }, caller),
        ),
      );
      this.#files.renamed(from, to);
      this.#paths.renamed(from, to);
    });
  }

  // Extended attributes.

  getxattr(path: string, name: string, _position: number, done: Fuse.Done): void {
    this.#onNode(done, path, async ({ nodeId }, caller) => [
      await this.#filesystem.getxattr(nodeId, name, caller),
    ]);
  }

  listxattr(path: string, done: (result: number, names?: string[]) => void): void {
    this.#onNode(done as Fuse.Done, path, async ({ nodeId }, caller) => [
      await this.#filesystem.listxattr(nodeId, caller),
    ]);
  }

  setxattr(
    path: string,
    name: string,
    value: Buffer,
    _position: number,
    bits: number,
    done: Fuse.Done,
  ): void {
    const flags = { create: (bits & XATTR_CREATE) !== 0, replace: (bits & XATTR_REPLACE) !== 0 };
    this.#onNode(done, path, async ({ nodeId }, caller) =>
      this.#filesystem.setxattr(nodeId, name, value, flags, caller),
    );
  }

  removexattr(path: string, name: string, done: Fuse.Done): void {
    this.#onNode(done, path, async ({ nodeId }, caller) =>
      this.#filesystem.removexattr(nodeId, name, caller),
    );
  }

  /** Releases what the kernel, now gone, no longer will. */
  async close(): Promise<void> {
    for (const { handle, walk } of this.#files.takeAll()) {
      try {
        await this.#filesystem.release(handle, undefined);
      } finally {
        walk.forget();
      }
    }
    this.#paths.close();
  }

  /** What libfuse means by renaming an open file to a hidden name: it is unlinked, and stays open. */
  async #hide(from: string, to: string, caller: Caller): Promise<void> {
    const walk = await this.#paths.walk(from, caller);
    try {
      await this.#paths.within(from, caller, ({ parent, name }) =>
        this.#filesystem.unlink(parent, name, caller),
      );
    } catch (error) {
      walk.forget();
      throw error;
    }
    this.#paths.hide(to, walk);
    this.#files.renamed(from, to);
  }

  #refuseHidden(folder: string): void {
    if (!this.#paths.holdsHidden(folder)) return;
    throw new HawserError("not_empty", `${folder} still holds files that are open.`);
  }

  async #attributes({ nodeId, entry }: Walk, caller: Caller): Promise<Attributes> {
    return entry?.attributes ?? (await this.#filesystem.getattr(nodeId, undefined, caller)).attributes;
  }

  #setattr(done: Fuse.Done, path: string, changes: SetAttributes): void {
    this.#onNode(done, path, async ({ nodeId }, caller) => {
      await this.#filesystem.setattr(nodeId, changes, caller);
    });
  }

  #make(done: Fuse.Done, path: string, make: (place: Place, caller: Caller) => MaybePromise<Entry>): void {
    this.#answer(done, (caller) =>
      this.#paths.within(path, caller, async (place) => this.#paths.forget(await make(place, caller))),
    );
  }

  #onNode(done: Fuse.Done, path: string, work: (walk: Walk, caller: Caller) => Promise<Success>): void {
    this.#answer(done, (caller) => this.#paths.with(path, caller, (walk) => work(walk, caller)));
  }

  /** Runs one operation and answers it, once, whatever happens. */
  #answer(
    done: (result: number, ...values: unknown[]) => void,
    work: (caller: Caller) => Promise<Success>,
  ): void {
    void this.#reply(done, work);
  }

  async #reply(
    done: (result: number, ...values: unknown[]) => void,
    work: (caller: Caller) => Promise<Success>,
  ): Promise<void> {
    const answer = await this.#run(work);
    done(...answer);
  }

  async #run(work: (caller: Caller) => Promise<Success>): Promise<readonly [number, ...unknown[]]> {
    try {
      const success = await work(new OwnProcess());
      return typeof success === "object" ? [0, ...success] : [success ?? 0];
    } catch (error) {
      const isBug = !HawserError.is(error) || error.code === "internal";
      if (isBug) this.#logger.error({ error }, "an operation broke");
      return [-errnoOf(error)];
    }
  }
}
