/**
 * The launcher's end on the node: joins standard input and output with the worker's socket.
 *
 * The worker is started first where it does not run. One of another program (another version of Hawser) is asked to
 * leave, which costs nothing: jobs and mounts are processes of their own.
 */
import { spawn } from "node:child_process";
import { mkdirSync, openSync } from "node:fs";
import { createConnection } from "node:net";
import type { Socket } from "node:net";
import { HawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import { LineSplitter } from "../../daemon/control-protocol.ts";
import { until } from "../../daemon/deadline.ts";
import { isAlive } from "../../daemon/process-table.ts";
import { startByUnit } from "./boot-unit.ts";
import { PROGRAM, liveWorker } from "./program.ts";
import { WorkerFolder } from "./spec.ts";

const START_MS: Milliseconds = 20_000;

/**
 * What systemd does elsewhere: a worker that ended otherwise than by its own will is started again, for as long as the
 * node is one of the pool, because the worker is what ends the pool in time.
 */
const KEEP = `
pool=$1; shift
pause=1
until "$@"; do
  [ -e "$pool" ] || exit 0
  sleep $pause
  [ $pause -ge 60 ] || pause=$((pause * 2))
done
`;

/** Joins the streams until either ends. @param start whether a worker that is not there is started */
export async function connectWorker(
  pool: string,
  { start, systemd }: { start: boolean; systemd: boolean },
): Promise<void> {
  const folder = new WorkerFolder(pool);
  let socket = await open(folder);
  if (socket && start && (await programOf(socket)) !== PROGRAM) {
    await leave(folder, socket);
    socket = undefined;
  }
  if (!socket) {
    if (!start && !folder.spec()) {
      throw new HawserError("pool_not_found", `This node is not one of the pool '${pool}'.`);
    }
    await startWorker(folder, systemd);
    socket = await open(folder);
    if (!socket) throw new HawserError("daemon_failed", `The worker did not start; see ${folder.logPath}.`);
  }
  await join(socket);
}

function open(folder: WorkerFolder): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(folder.socketPath);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => resolve(undefined));
  });
}

/** One request before the streams are joined. */
async function ask(socket: Socket, method: string): Promise<Record<string, unknown>> {
  const splitter = new LineSplitter();
  return await new Promise((resolve) => {
    const hear = (chunk: Buffer): void => {
      for (const line of splitter.push(chunk.toString())) {
        socket.off("data", hear);
        resolve((JSON.parse(line) as { result?: Record<string, unknown> }).result ?? {});
      }
    };
    socket.on("data", hear);
    socket.once("close", () => resolve({}));
    socket.write(`${JSON.stringify({ id: 0, method, params: {} })}\n`);
  });
}

async function programOf(socket: Socket): Promise<unknown> {
  return (await ask(socket, "status"))["program"];
}

async function leave(folder: WorkerFolder, socket: Socket): Promise<void> {
  const worker = liveWorker(folder);
  await ask(socket, "quit");
  socket.destroy();
  if (worker) await until(() => !isAlive(worker), START_MS);
}

async function startWorker(folder: WorkerFolder, systemd: boolean): Promise<void> {
  mkdirSync(folder.path, { recursive: true, mode: 0o700 });
  if (systemd) {
    await startByUnit(folder.pool);
  } else {
    const log = openSync(folder.logPath, "a", 0o600);
    const serve = [process.execPath, PROGRAM, "worker", "serve", folder.pool];
    const child = spawn("sh", ["-c", KEEP, "sh", folder.specPath, ...serve], {
      cwd: "/",
      detached: true,
      stdio: ["ignore", log, log],
    });
    child.unref();
  }
  const deadline = performance.now() + START_MS;
  for (;;) {
    const socket = await open(folder);
    socket?.destroy();
    if (socket) return;
    if (performance.now() > deadline) return;
    await until(() => liveWorker(folder) !== undefined, 20);
  }
}

function join(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.pipe(socket);
    socket.pipe(process.stdout);
    socket.once("close", () => resolve());
    process.stdin.once("close", () => {
      socket.end();
      resolve();
    });
    socket.on("error", () => resolve());
  });
}
