/** The part of the fuse-native package that we use; it ships no types. Private members are named where we replace them. */
declare module "fuse-native" {
  namespace Fuse {
    /** Ends an operation: a negative errno, or 0, or a count of bytes. Called exactly once. */
    type Done = (result: number, value?: unknown) => void;
    /** The same on the package's inner side. */
    type Signal = (result: number, ...rest: unknown[]) => void;

    interface Stat {
      mode: number;
      uid: number;
      gid: number;
      size: number;
      nlink: number;
      rdev?: number;
      ino: number;
      blocks: number;
      /** Milliseconds since 1970; unsigned in the package. */
      atime: number;
      mtime: number;
      ctime: number;
    }

    interface Operations {
      statfs(path: string, done: Done): void;
      getattr(path: string, done: Done): void;
      readdir(path: string, done: (result: number, names?: string[], stats?: Stat[]) => void): void;
      readlink(path: string, done: Done): void;
      open(path: string, flags: number, done: Done): void;
      create(path: string, mode: number, done: Done): void;
      read(path: string, fd: number, buffer: Buffer, length: number, offset: number, done: Done): void;
      write(path: string, fd: number, buffer: Buffer, length: number, offset: number, done: Done): void;
      flush(path: string, fd: number, done: Done): void;
      fsync(path: string, dataOnly: number, fd: number, done: Done): void;
      release(path: string, fd: number, done: Done): void;
      fsyncdir(path: string, dataOnly: number, fd: number, done: Done): void;
      truncate(path: string, size: number, done: Done): void;
      ftruncate(path: string, fd: number, size: number, done: Done): void;
      utimens(path: string, atimeMs: number, mtimeMs: number, done: Done): void;
      chown(path: string, uid: number, gid: number, done: Done): void;
      chmod(path: string, mode: number, done: Done): void;
      mknod(path: string, mode: number, device: number, done: Done): void;
      mkdir(path: string, mode: number, done: Done): void;
      symlink(target: string, path: string, done: Done): void;
      link(from: string, to: string, done: Done): void;
      unlink(path: string, done: Done): void;
      rmdir(path: string, done: Done): void;
      rename(from: string, to: string, done: Done): void;
      setxattr(path: string, name: string, value: Buffer, position: number, flags: number, done: Done): void;
      getxattr(path: string, name: string, position: number, done: Done): void;
      listxattr(path: string, done: (result: number, names?: string[]) => void): void;
      removexattr(path: string, name: string, done: Done): void;
    }
  }

  class Fuse {
    constructor(mountPoint: string, operations: Fuse.Operations, options: { timeout: false });
    mount(done: (error: Error | null) => void): void;
    readonly mnt: string;
    readonly ops: Fuse.Operations;
    readonly _thread: Buffer | null;
    readonly _handlers: ((call: Buffer, opcode: number, ...args: unknown[]) => void)[];
    _fuseOptions(): string;
    _op_getxattr(signal: Fuse.Signal, path: string, name: string, into: Buffer, position: number): void;
    _op_listxattr(signal: Fuse.Signal, path: string, into: Buffer): void;
    _op_utimens(signal: Fuse.Signal, path: string, ...halves: number[]): void;
  }
  export = Fuse;
}
