/**
 * Serves a filesystem through the native channel in the test's own process.
 *
 * So a test can look into the filesystem while the kernel uses it. In return this process must never touch the mount:
 * everything on it is done by other processes, and awaited.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { native } from "../../src/common/native.ts";
import type { ChannelSettings, MountOptions } from "../../src/fuse/channel.ts";
import { NativeChannel } from "../../src/fuse/native-channel.ts";
import { silentLogger, type Logger } from "../../src/observe/logger.ts";
import type { Filesystem } from "../../src/vfs/filesystem.ts";

const UMOUNT_DETACH_NOFOLLOW = 2 | 8;

export class ServedHere implements AsyncDisposable {
  readonly channel: NativeChannel;
  readonly path: string;
  readonly settings: ChannelSettings;

  private constructor(channel: NativeChannel, path: string, settings: ChannelSettings) {
    this.channel = channel;
    this.path = path;
    this.settings = settings;
  }

  static async start(
    filesystem: Filesystem,
    options: Partial<MountOptions> = {},
    logger: Logger = silentLogger,
  ): Promise<ServedHere> {
    const path = await mkdtemp(join(tmpdir(), "hawser-native-"));
    const channel = new NativeChannel({ logger });
    const settings = await channel.mount(filesystem, {
      mountPoint: path,
      source: "test",
      readOnly: false,
      allowOther: false,
      nonempty: false,
      passthrough: false,
      ...options,
    });
    return new ServedHere(channel, path, settings);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.channel.close();
    if (await isMounted(this.path)) await native().unmount(this.path, UMOUNT_DETACH_NOFOLLOW);
    await rmdir(this.path);
  }
}

export async function isMounted(path: string): Promise<boolean> {
  return (await readFile("/proc/self/mountinfo", "utf8")).includes(` ${path} `);
}

/** A python3 process with `code`, which finds `args` in sys.argv[1:]. */
export function python(code: string, ...args: string[]): ChildProcess {
  const prelude = "import os,sys,signal,mmap,time,threading\n";
  return spawn("python3", ["-S", "-E", "-c", prelude + code, ...args], { stdio: ["pipe", "pipe", "pipe"] });
}

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Waits for the process to end. */
export async function outcome(child: ChildProcess): Promise<Outcome> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString("latin1")));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString("latin1")));
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout, stderr };
}

/** Runs the code; its standard output. @throws with what it wrote to standard error */
export async function runPython(code: string, ...args: string[]): Promise<string> {
  const { code: status, stdout, stderr } = await outcome(python(code, ...args));
  if (status !== 0) throw new Error(`python3 ended with ${status}: ${stderr}`);
  return stdout.trimEnd();
}

/** The filesystem with some methods replaced, also by ones that answer later where the original answers at once. */
export function overriding(filesystem: Filesystem, methods: Partial<Filesystem>): Filesystem {
  return new Proxy(filesystem, {
    get(target, name) {
      const replaced: unknown = Reflect.get(methods, name);
      if (replaced !== undefined) return replaced;
      const original: unknown = Reflect.get(target, name, target);
      return typeof original === "function" ? (original.bind(target) as unknown) : original;
    },
  });
}

/** A promise and what resolves it. */
export function signalOnce<T = void>(): { promise: Promise<T>; fire: (value: T) => void } {
  let fire!: (value: T) => void;
  const promise = new Promise<T>((resolve) => (fire = resolve));
  return { promise, fire };
}
