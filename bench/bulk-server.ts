/**
 * The servers of the bulk benchmark: s3bench, which makes up its objects, and dev-s3 over a folder of real files.
 *
 * Both have the same bucket `bench` with the same keys. dev-s3 gets only what the rows that are run read.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

const MiB = 1024 * 1024;
export const PORT = 9378;
export const ENDPOINT = `http://127.0.0.1:${PORT}`;
/** Those that dev-s3 knows; s3bench takes any. */
export const ACCESS_KEY = { id: "hawser", secret: "hawser-dev-secret" };

/** What the user of the benchmark can put right: it is told without a stack. */
export class SetupError extends Error {}

interface Objects {
  prefix: string;
  count: number;
  bytes: number;
  /** 0: all in one. */
  perFolder: number;
}

const OBJECTS: readonly Objects[] = [
  { prefix: "small/", count: 10_000, bytes: 102_400, perFolder: 100 },
  { prefix: "mid/", count: 100, bytes: 5 * MiB, perFolder: 0 },
  { prefix: "big/", count: 1, bytes: 2048 * MiB, perFolder: 0 },
  { prefix: "keys/", count: 100_000, bytes: 1024, perFolder: 1000 },
  { prefix: "thousand/", count: 1000, bytes: 102_400, perFolder: 0 },
];

/** @param shaped with 20 ms to the first byte and 90 MB/s a connection, as S3 answers in one's own region */
export async function startS3bench(program: string, shaped: boolean, port = PORT): Promise<ChildProcess> {
  const shape = shaped ? ["-ttfb", "20ms", "-rate", "90"] : [];
  const synthetic = OBJECTS.flatMap(({ prefix, count, bytes, perFolder }) => [
    "-synth",
    `bench:${prefix}:${count}:${bytes}:${perFolder}`,
  ]);
  return await started(program, ["-listen", `127.0.0.1:${port}`, ...shape, ...synthetic], port);
}

/** @param prefixes what is read of its bucket */
export async function startDevS3(
  hawser: string,
  folder: string,
  prefixes: readonly string[],
): Promise<ChildProcess> {
  const bucket = join(folder, "dev-s3", "bench");
  mkdirSync(bucket, { recursive: true });
  for (const objects of OBJECTS) if (prefixes.includes(objects.prefix)) makeObjects(bucket, objects);
  const args = [hawser, "dev-s3", join(folder, "dev-s3"), "--port", String(PORT)];
  return await started(process.execPath, args, PORT);
}

function makeObjects(bucket: string, { prefix, count, bytes, perFolder }: Objects): void {
  const piece = Buffer.alloc(Math.min(bytes, 8 * MiB), "hawser bulk");
  for (let at = 0; at < count; at++) {
    const below = perFolder === 0 ? "" : String(Math.floor(at / perFolder)).padStart(5, "0");
    const folder = join(bucket, prefix, below);
    if (at === 0 || (perFolder > 0 && at % perFolder === 0)) mkdirSync(folder, { recursive: true });
    piece.writeUInt32LE(at, 0);
    const fd = openSync(join(folder, `${String(at).padStart(7, "0")}.bin`), "w");
    for (let written = 0; written < bytes; written += piece.length) writeSync(fd, piece);
    closeSync(fd);
  }
}

/** Somebody else's server would be measured instead of ours. @throws Error that says what to do */
async function checkPortFree(port: number): Promise<void> {
  const probe = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    throw new SetupError(
      `Port ${port} is in use: another server, perhaps of a benchmark that was killed, would be measured. ` +
        `Find it with: ss -ltnp 'sport = :${port}'`,
      { cause: error },
    );
  }
  await new Promise((resolve) => probe.close(resolve));
}

/** A server is ready when it has said its first words. */
async function started(program: string, args: string[], port: number): Promise<ChildProcess> {
  await checkPortFree(port);
  const server = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  await new Promise((resolve, reject) => {
    for (const stream of [server.stdout, server.stderr]) stream.once("data", resolve);
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "ENOENT"
          ? new SetupError(
              `There is no program '${program}'. Build it (go build) and name it by --s3bench FILE, S3BENCH or PATH; ` +
                "or measure against files by --server dev-s3.",
            )
          : error,
      ),
    );
    server.once("exit", (code) =>
      reject(new SetupError(`${program} ended with ${code} before it served anything.`)),
    );
  });
  server.removeAllListeners("exit");
  // What it says later is not read, and must not stop it.
  server.stdout.resume();
  server.stderr.resume();
  return server;
}
