/**
 * The worker bundle: what a node must have so that Hawser runs there, named by its content.
 *
 * It has two parts, Node.js and Hawser with its packages and the addon, because the first seldom changes. A part's name
 * ends in the hash of everything in it; on a node it is a folder of that name, so that what is there is never sent
 * again and never half there. Parts are packed once and kept in this user's cache.
 */
import { createHash } from "node:crypto";
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { packagePath } from "../../common/package-root.ts";
import { HawserError } from "../../common/errors.ts";
import type { Bytes } from "../../common/units.ts";
import type { Environment } from "../../config/interpolate.ts";
import { VERSION } from "../../daemon/version.ts";
import { loadableFiles, workerPackages } from "./closure.ts";
import type { PackedFile } from "./closure.ts";
import { nodeBinary } from "./node-binary.ts";
import type { WorkerArch } from "./node-binary.ts";
import { archive } from "./tar.ts";

export interface BundlePart {
  /** Folder on a node, e.g. `hawser-0.1.0-3f2a…`. */
  name: string;
  files: PackedFile[];
  /** Unpacked. */
  sizeBytes: Bytes;
}

export interface PackedPart {
  name: string;
  /** A .tar.gz on this machine. */
  path: string;
  packedBytes: Bytes;
  /** SHA-256 of the archive, in hex. */
  checksum: string;
  sizeBytes: Bytes;
}

/** Compression costs the launcher once, bytes cost every node: the usual middle. */
const GZIP_LEVEL = 6;
/** Packed parts kept in the cache; older ones go. */
const KEEP_PACKED = 8;

const ROOT = packagePath(".").replace(/\/$/, "");

export function bundleCache(environment: Environment): string {
  return join(
    environment["XDG_CACHE_HOME"] ?? join(environment["HOME"] ?? homedir(), ".cache"),
    "hawser",
    "bundles",
  );
}

/** Both parts for one kind of machine, named. @throws HawserError `bundle_missing` */
export async function bundleParts(
  arch: WorkerArch,
  cache: string,
): Promise<[node: BundlePart, hawser: BundlePart]> {
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const node = await nodeBinary(arch, cache);
  return [
    part(`node-${arch}`, [{ path: "bin/node", file: node }], cache),
    part(`hawser-${VERSION}-${arch}`, hawserFiles(arch), cache),
  ];
}

function hawserFiles(arch: WorkerArch): PackedFile[] {
  const files: PackedFile[] = [
    { path: "package.json", file: join(ROOT, "package.json") },
    ...loadableFiles(join(ROOT, "bin"), "bin"),
    { path: "native/build/Release/hawser.node", file: addon(arch) },
    ...loadableFiles(join(ROOT, "dist", "program"), "dist/program"),
  ];
  for (const [place, folder] of workerPackages(ROOT)) files.push(...loadableFiles(folder, place));
  return files;
}

/** The addon for a kind of machine: prebuilt where the package has it, else the one built here. */
function addon(arch: WorkerArch): string {
  const prebuilt = join(ROOT, "native", "prebuilds", `linux-${arch}`);
  if (existsSync(prebuilt)) {
    const name = readdirSync(prebuilt).find((file) => file.endsWith(".node") && !file.includes("musl"));
    if (name !== undefined) return join(prebuilt, name);
  }
  const built = join(ROOT, "native", "build", "Release", "hawser.node");
  if (process.platform === "linux" && process.arch === arch && existsSync(built)) return built;
  throw new HawserError(
    "bundle_missing",
    `This installation has no native addon for linux-${arch} nodes; install the published package, or build it there.`,
  );
}

function part(label: string, files: PackedFile[], cache: string): BundlePart {
  const sorted = files.sort((a, b) => (a.path < b.path ? -1 : 1));
  const stats = sorted.map(({ file }) => statSync(file));
  const sizeBytes = stats.reduce((sum, { size }) => sum + size, 0);
  // Reading a hundred megabytes at every launch would cost more than all else before the first connection.
  const stamp = createHash("sha256");
  sorted.forEach(({ path, file }, i) =>
    stamp.update(`${path}\0${file}\0${stats[i]!.size}\0${stats[i]!.mtimeMs}\n`),
  );
  const memo = join(cache, `${label}.${stamp.digest("hex").slice(0, 16)}.name`);
  let name = existsSync(memo) ? readFileSync(memo, "utf8") : "";
  if (!/^[A-Za-z0-9._-]+$/.test(name)) {
    name = `${label}-${contentHash(sorted)}`;
    writeFileSync(memo, name, { mode: 0o600 });
  }
  return { name, files: sorted, sizeBytes };
}

function contentHash(files: readonly PackedFile[]): string {
  const hash = createHash("sha256");
  for (const { path, file } of files) {
    const content = readFileSync(file);
    hash.update(`${path}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex").slice(0, 20);
}

/** A part as an archive in the cache; packed unless it is there. */
export async function pack({ name, files, sizeBytes }: BundlePart, cache: string): Promise<PackedPart> {
  const path = join(cache, `${name}.tar.gz`);
  const sums = `${path}.sha256`;
  if (!existsSync(path) || !existsSync(sums)) {
    const temporary = `${path}.${process.pid}`;
    const hash = createHash("sha256");
    const entries = files.map(({ path, file }) => ({
      path,
      mode: path === "bin/node" ? 0o755 : 0o644,
      content: { file, sizeBytes: statSync(file).size },
    }));
    try {
      await pipeline(
        Readable.from(archive(entries)),
        createGzip({ level: GZIP_LEVEL }),
        async function* (source: AsyncIterable<Buffer>) {
          for await (const piece of source) {
            hash.update(piece);
            yield piece;
          }
        },
        createWriteStream(temporary, { mode: 0o600 }),
      );
      writeFileSync(sums, hash.digest("hex"), { mode: 0o600 });
      renameSync(temporary, path);
    } finally {
      rmSync(temporary, { force: true });
    }
    forgetOld(cache);
  }
  utimesSync(path, new Date(), new Date());
  return { name, path, packedBytes: statSync(path).size, checksum: readFileSync(sums, "utf8"), sizeBytes };
}

function forgetOld(cache: string): void {
  const packed = readdirSync(cache)
    .filter((name) => name.endsWith(".tar.gz"))
    // Another launcher may have removed it meanwhile.
    .map((name) => ({
      path: join(cache, name),
      mtimeMs: statSync(join(cache, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
    }))
    .sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { path } of packed.slice(KEEP_PACKED)) {
    rmSync(path, { force: true });
    rmSync(`${path}.sha256`, { force: true });
  }
}
