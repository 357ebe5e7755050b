/**
 * The node binary that goes to workers: the one that runs here where it fits, else the npm package of the worker's kind
 * of machine, fetched once by npm into this user's cache.
 */
import { execFile } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { HawserError } from "../../common/errors.ts";

const run = promisify(execFile);

export type WorkerArch = "x64" | "arm64";

/** The release that is fetched where this machine's own does not fit: the line that is maintained longest. */
const FETCHED_VERSION = "24.11.1";

/** @param cache a folder of this user @throws HawserError `bundle_missing` */
export async function nodeBinary(arch: WorkerArch, cache: string): Promise<string> {
  if (process.platform === "linux" && process.arch === arch && standsAlone(process.execPath))
    return process.execPath;
  const name = `node-linux-${arch}`;
  const folder = join(cache, `${name}-${FETCHED_VERSION}`);
  const binary = join(folder, "node_modules", name, "bin", "node");
  if (existsSync(binary)) return binary;
  const flags = ["--no-save", "--ignore-scripts", "--force", "--no-audit", "--no-fund", "--prefix", folder];
  try {
    await run("npm", ["install", ...flags, `${name}@${FETCHED_VERSION}`]);
  } catch (error) {
    throw missing(arch, (error as Error).message, error);
  }
  if (!existsSync(binary)) throw missing(arch, `${name} has no bin/node`);
  return binary;
}

function missing(arch: WorkerArch, why: string, cause?: unknown): HawserError {
  return new HawserError(
    "bundle_missing",
    `There is no Node.js for linux-${arch} nodes here, and npm could not fetch one (${why.trim().split("\n")[0]}).`,
    { cause },
  );
}

/**
 * Whether a binary needs nothing but the C and C++ libraries: some distributions put Node.js itself into a library,
 * whose name is then in the table of what the loader must find.
 */
function standsAlone(path: string): boolean {
  const fd = openSync(path, "r");
  try {
    const head = Buffer.alloc(Math.min(fstatSync(fd).size, 1024 * 1024));
    readSync(fd, head, 0, head.length, 0);
    return fstatSync(fd).size > 40_000_000 && !head.includes("libnode.so");
  } finally {
    closeSync(fd);
  }
}
