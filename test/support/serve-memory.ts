/**
 * Serves the in-memory filesystem through one channel, for a test in another process.
 *
 * A process that serves a mount must never touch it, so the test does the system calls and this process does nothing
 * else. The test calls methods by IPC; what happens here by itself is sent as events.
 */
import type { ErrorCode } from "../../src/common/errors.ts";
import type { Channel, ChannelKind, MountOptions } from "../../src/fuse/channel.ts";
import { FuseNativeChannel } from "../../src/fuse/fuse-native-channel.ts";
import { createLogger } from "../../src/observe/logger.ts";
import { CaselessFilesystem } from "./caseless-filesystem.ts";
import { buildConformanceTree } from "./conformance-tree.ts";
import { MemoryFilesystem, type MemoryFilesystemOptions } from "./memory-filesystem.ts";
import { SparseContent } from "./sparse-content.ts";

export interface ServeOptions {
  channel: ChannelKind;
  filesystem?: MemoryFilesystemOptions;
  /** `A.txt` and `a.txt` are one file. */
  ignoresCase?: boolean;
  bigEntries?: number;
  mount: MountOptions;
}

export interface Stats {
  counts: Record<string, number>;
  outstandingLookups: number;
  referenced: string[];
  openHandles: number;
}

/** Errors are bugs, and go to the test's own output. */
const logger = createLogger({ level: "error", destination: 2 });
let filesystem = new MemoryFilesystem();
let channel: Channel | undefined;

async function makeChannel(kind: ChannelKind): Promise<Channel> {
  if (kind === "fuse-native") return new FuseNativeChannel({ logger });
  const { NativeChannel } = await import("../../src/fuse/native-channel.ts");
  return new NativeChannel({ logger });
}

const methods = {
  async mount({ channel: kind, filesystem: options, ignoresCase, bigEntries, mount }: ServeOptions) {
    filesystem = new (ignoresCase ? CaselessFilesystem : MemoryFilesystem)(options);
    buildConformanceTree(filesystem.tree, bigEntries);
    filesystem.gates.onEvent = (name, path) => emit(name, path);
    channel = await makeChannel(kind);
    void channel.ended.then(({ reason }) => emit("ended", reason));
    return channel.mount(filesystem, mount);
  },
  stats(): Stats {
    const { counts, tree, openHandles } = filesystem;
    return {
      counts,
      outstandingLookups: tree.outstandingLookups(),
      referenced: tree.referenced(),
      openHandles,
    };
  },
  /** Resolves when the kernel holds no reference any more. */
  forgotten() {
    return new Promise<void>((resolve) => {
      const check = (): void => {
        if (filesystem.tree.outstandingLookups() <= 0) resolve();
      };
      filesystem.onForget = check;
      check();
    });
  },
  shut: (path: string) => filesystem.gates.shut(path),
  open: (path: string) => filesystem.gates.open(path),
  fail: (operation: string, path: string, code: ErrorCode) =>
    void filesystem.failures.set(`${operation} ${path}`, code),
  heal: () => filesystem.failures.clear(),
  replace(path: string, sizeBytes: number, seed: number) {
    filesystem.replace(path, new SparseContent(sizeBytes, seed));
  },
  async invalidateEntry(folder: string, name: string) {
    await filesystem.kernel!.invalidateEntry(filesystem.tree.find(folder)!.id, Buffer.from(name));
  },
  async invalidateInode(path: string) {
    await filesystem.kernel!.invalidateInode(filesystem.tree.find(path)!.id, 0, 0);
  },
  /** Changes content behind the kernel's back, keeping the node: only an invalidation shows it. */
  scribble(path: string, text: string) {
    filesystem.tree.find(path)!.content.write(0, Buffer.from(text));
  },
  async unmount(options: { lazy?: boolean }) {
    await channel!.unmount(options);
  },
  async close() {
    await channel?.close();
    await channel?.close();
    await filesystem.close();
  },
  /** Lets this process end by itself: what still holds it open then is a leak. */
  disconnect: () => void setImmediate(() => process.disconnect()),
};

export type ServeMethods = typeof methods;

function emit(name: string, detail: string): void {
  process.send?.({ event: name, detail });
}

interface Request {
  id: number;
  method: keyof ServeMethods;
  args: unknown[];
}

// A test that dies without a word leaves no mount behind.
process.on("disconnect", () => void methods.close());
process.on("message", (request: Request) => void answer(request));

async function answer({ id, method, args }: Request): Promise<void> {
  try {
    const run = methods[method] as (...args: unknown[]) => unknown;
    process.send!({ id, result: (await run(...args)) ?? null });
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    process.send!({ id, error: { code, message } });
  }
}
