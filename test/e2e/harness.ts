/**
 * The real program on real mounts, against dev-s3 in this process.
 *
 * dev-s3 answers from this process's event loop, so nothing here may read a mount synchronously. Everything a test
 * makes is below one folder; `close` leaves no mount, no process and no file of it behind, whatever the test did.
 */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { readMounts } from "../../src/daemon/mountinfo.ts";
import type { DevS3, DevS3Options } from "../../src/devs3/index.ts";
import { TEST_BUCKET, startTestS3, testEnvironment } from "../support/dev-s3.ts";
import type { TestS3 } from "../support/dev-s3.ts";

export const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));

const execute = promisify(execFile);

export interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string | undefined>;
  uid?: number;
  gid?: number;
  timeoutMs?: number;
}

/** Runs a program to its end; a failure is an answer, not an exception. */
export async function runProgram(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Run> {
  const { env, uid, gid, timeoutMs = 110_000 } = options;
  try {
    const { stdout, stderr } = await execute(file, [...args], {
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code?: number | string; killed?: boolean; stdout?: string; stderr?: string };
    if (typeof failed.code !== "number") throw error;
    return { code: failed.code, stdout: failed.stdout ?? "", stderr: failed.stderr ?? "" };
  }
}

export class World implements AsyncDisposable {
  readonly folder: string;
  readonly stateDir: string;
  readonly s3: DevS3;
  readonly bucket = TEST_BUCKET;
  private readonly server: TestS3;
  private readonly children: ChildProcess[] = [];
  private closed = false;

  private constructor(folder: string, server: TestS3) {
    this.folder = folder;
    this.stateDir = join(folder, "state");
    this.server = server;
    this.s3 = server.s3;
  }

  static async open(options: DevS3Options = {}): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), "hawser-e2e-"));
    // Another user's program must reach its mount point below.
    await chmod(folder, 0o755);
    return new World(folder, await startTestS3(options));
  }

  /** A new empty folder. */
  async mountPoint(name = "mnt"): Promise<string> {
    const path = join(this.folder, name);
    await mkdir(path, { recursive: true });
    return path;
  }

  async put(key: string, body: string | Uint8Array): Promise<void> {
    await this.server.client.send(new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: body }));
  }

  get environment(): Record<string, string> {
    return { ...testEnvironment(this.s3), HAWSER_STATE_DIR: this.stateDir, HOME: this.folder, NO_COLOR: "1" };
  }

  /** Runs the program to its end. */
  hawser(args: readonly string[], options: RunOptions = {}): Promise<Run> {
    return runProgram(process.execPath, [PROGRAM, ...args], {
      ...options,
      env: { ...this.environment, ...options.env },
    });
  }

  /** Mounts the bucket in the background and expects that to work. @returns the mount point */
  async mount(args: readonly string[] = [], { prefix = "", name = "mnt" } = {}): Promise<string> {
    const path = await this.mountPoint(name);
    const { code, stderr } = await this.hawser(["mount", `s3://${this.bucket}/${prefix}`, path, ...args]);
    if (code !== 0) throw new Error(`hawser mount ended with ${code}: ${stderr}`);
    return path;
  }

  /** Starts a program that goes on running; it is killed at the end at the latest. */
  start(file: string, args: readonly string[], env: Record<string, string> = {}): RunningProgram {
    const child = spawn(file, [...args], {
      env: { ...process.env, ...this.environment, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.children.push(child);
    return new RunningProgram(child);
  }

  /** What `hawser status --json` says of one mount. @throws with what it said instead */
  async status(path: string): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await this.hawser(["status", path, "--json"]);
    if (stdout === "") throw new Error(`hawser status ended with ${code} and told nothing: ${stderr}`);
    return (JSON.parse(stdout) as Record<string, unknown>[])[0]!;
  }

  /** The log of every mount of this world. */
  async logs(): Promise<string> {
    const folders = existsSync(this.stateDir) ? readdirSync(this.stateDir) : [];
    const texts = await Promise.all(
      folders.map((name) => readFile(join(this.stateDir, name, "log"), "utf8").catch(() => "")),
    );
    return texts.join("");
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    for (const child of this.children) child.kill("SIGKILL");
    const owners = this.killOwners();
    // The topmost first.
    for (const { mountPoint } of readMounts()
      .filter(({ mountPoint }) => mountPoint.startsWith(`${this.folder}/`))
      .reverse()) {
      await runProgram("umount", ["-i", "-c", "-l", mountPoint]);
    }
    await this.server.close();
    // A process that is about to end may still make a file where one has just been removed.
    await eventually("the mounts' processes are gone", () => !owners.some(isRunning));
    await rm(this.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Kills the processes of mounts that a test left. @returns which these were */
  private killOwners(): number[] {
    const killed: number[] = [];
    const folders = existsSync(this.stateDir) ? readdirSync(this.stateDir) : [];
    for (const name of folders) {
      try {
        const { pid } = JSON.parse(readFileSync(join(this.stateDir, name, "owner.json"), "utf8")) as {
          pid: number;
        };
        process.kill(pid, "SIGKILL");
        killed.push(pid);
      } catch {
        // It ended as it should.
      }
    }
    return killed;
  }
}

export class RunningProgram {
  readonly pid: number;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  output = "";
  private readonly child: ChildProcess;

  constructor(child: ChildProcess) {
    this.child = child;
    this.pid = child.pid!;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        child.emit("hawser-output");
      });
    }
    this.ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves when the output matches. */
  async says(pattern: RegExp): Promise<void> {
    const ended = this.ended.then(() => "ended" as const);
    while (!pattern.test(this.output)) {
      const next = new Promise((resolve) => this.child.once("hawser-output", resolve));
      if ((await Promise.race([next, ended])) === "ended" && !pattern.test(this.output)) {
        throw new Error(`The program ended without saying ${pattern}: ${this.output}`);
      }
    }
  }
}

export function isMounted(path: string): boolean {
  return readMounts().some(({ mountPoint }) => mountPoint === path);
}

/** Some thread of it is: a killed process's first one may be gone before the others, which hold its files and locks. */
export function isRunning(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) => isThreadRunning(pid, thread));
  } catch {
    return false;
  }
}

function isThreadRunning(pid: number, thread: string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Looks until `condition` holds. @throws when it does not within `ms`, which only bounds how long a failure takes */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = 60_000,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
