/**
 * Loading fuse-native, on demand: it is optional, and its absence costs nothing until somebody asks for it.
 *
 * Its addon needs libfuse.so.2. The package ships one, but the addon has no run path to it, so it loads only where the
 * system has libfuse 2. We load the shipped library first: the dynamic linker then finds the name already there.
 *
 * Four things of the package are replaced, by a subclass:
 * - its mount options, which cannot say what we need (and which it hands to a shell when unmounting: see
 *   fuse-native-unmount.ts);
 * - getxattr and listxattr, which write beyond the kernel's buffer instead of answering ERANGE;
 * - utimens, which hands the access time over twice: the modification time is read from the call's own record;
 * - the limit of 15 s on an operation, by its option `timeout: false`.
 */
import { constants } from "node:os";
import { createRequire } from "node:module";
import path from "node:path";
import type Fuse from "fuse-native";
import { HawserError } from "../common/errors.ts";

/** glibc's flag that keeps a library loaded after dlclose; `os.constants.dlopen` does not list it. */
const RTLD_NODELETE = 0x1000;

/** Where the addon's call record (x64) keeps the two times in milliseconds, and utimens' opcode. */
const CALL_ATIME_OFFSET = 104;
const CALL_MTIME_OFFSET = 112;
const OP_UTIMENS = 12;

const INSTALL_LIBFUSE =
  "apt install libfuse2 (libfuse2t64 on newer Debian and Ubuntu) or dnf install fuse-libs (Fedora, Amazon Linux)";

/** A mount by fuse-native whose own threads have not been started yet. */
export interface FuseNativeMount {
  /** Mounts. @throws whatever the package says */
  mount(): Promise<void>;
  /** Lets the event loop end once the mount is gone. */
  detach(): void;
}

type FuseClass = typeof Fuse;

interface Binding {
  fuse_native_unmount(mountPoint: string, thread: Buffer): void;
}

/**
 * Prepares a mount of `operations` with libfuse's mount options (the text after `-o`).
 *
 * @throws HawserError `addon_missing` when the package or libfuse 2 is not there
 */
export async function prepareFuseNative(
  mountPoint: string,
  operations: Fuse.Operations,
  options: string,
): Promise<FuseNativeMount> {
  const { FuseClass, binding } = await load();

  class Mount extends FuseClass {
    override _fuseOptions(): string {
      return `-o${options}`;
    }

    override _op_getxattr(signal: Fuse.Signal, file: string, name: string, into: Buffer): void {
      this.ops.getxattr(file, name, 0, (result, value) => {
        signal(result < 0 ? result : fill(into, value as Uint8Array), into.buffer);
      });
    }

    override _op_listxattr(signal: Fuse.Signal, file: string, into: Buffer): void {
      this.ops.listxattr(file, (result, names) => {
        const list = Buffer.from((names ?? []).map((name) => `${name}\0`).join(""));
        signal(result < 0 ? result : fill(into, list), into.buffer);
      });
    }
  }

  const fuse = new Mount(mountPoint, operations, { timeout: false });
  const utimens = fuse._handlers[OP_UTIMENS]!;
  fuse._handlers[OP_UTIMENS] = (call, opcode, file, atimeLow, atimeHigh, ...same) => {
    const halves = modificationTime(call, Number(atimeLow), Number(atimeHigh)) ?? same;
    utimens(call, opcode, file, atimeLow, atimeHigh, ...halves);
  };
  return {
    mount: () => new Promise((resolve, reject) => fuse.mount((error) => (error ? reject(error) : resolve()))),
    detach: () => {
      if (fuse._thread) binding.fuse_native_unmount(fuse.mnt, fuse._thread);
    },
  };
}

/** An attribute's answer: its length, after copying it where a buffer was given. */
function fill(into: Buffer, value: Uint8Array): number {
  if (into.length === 0) return value.length;
  if (value.length > into.length) return -constants.errno.ERANGE;
  into.set(value);
  return value.length;
}

/** The two halves of the modification time, or undefined where the record does not look as expected. */
function modificationTime(call: Buffer, atimeLow: number, atimeHigh: number): [number, number] | undefined {
  if (call.readUInt32LE(CALL_ATIME_OFFSET) !== atimeLow) return undefined;
  if (call.readUInt32LE(CALL_ATIME_OFFSET + 4) !== atimeHigh) return undefined;
  return [call.readUInt32LE(CALL_MTIME_OFFSET), call.readUInt32LE(CALL_MTIME_OFFSET + 4)];
}

async function load(): Promise<{ FuseClass: FuseClass; binding: Binding }> {
  const require = createRequire(import.meta.url);
  let entry: string;
  try {
    entry = require.resolve("fuse-native");
  } catch (error) {
    throw new HawserError(
      "addon_missing",
      "The package fuse-native is not installed; run npm install --include=optional, or use --channel native.",
      { cause: error },
    );
  }
  const folder = path.dirname(entry);
  loadShippedLibfuse(folder);
  try {
    const { default: FuseClass } = await import("fuse-native");
    const binding = (createRequire(entry)("node-gyp-build") as (folder: string) => Binding)(folder);
    return { FuseClass, binding };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new HawserError(
      "addon_missing",
      `The fuse-native channel cannot be loaded (${reason}). It runs on x64 and needs libfuse 2: ${INSTALL_LIBFUSE}. ` +
        "The default, --channel native, needs neither.",
      { cause: error },
    );
  }
}

/** Makes libfuse.so.2 known to the linker. Node finds no addon in it and says so; the library stays. */
function loadShippedLibfuse(folder: string): void {
  const library = path.join(folder, "prebuilds", `${process.platform}-${process.arch}`, "libfuse.so");
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch {
    // Expected in every case: it is no addon. Where it is missing, the system's own libfuse 2 is used.
  }
}
