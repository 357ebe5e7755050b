/** Files that were pushed to a node: which of them are there already, and which went away at home. */
import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  lstatSync,
  readFileSync,
  readlinkSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { ManifestFile } from "./protocol.ts";

/** What was sent to a folder before, by its path. */
type Manifests = Record<string, { files: (ManifestFile & { mtimeMs: number })[] }>;

export class PushedFiles {
  private readonly path: string;

  constructor(manifestPath: string) {
    this.path = manifestPath;
  }

  private read(): Manifests {
    return existsSync(this.path) ? (JSON.parse(readFileSync(this.path, "utf8")) as Manifests) : {};
  }

  /** Which files are missing or differ; what was pushed before and is not wanted any more goes. */
  async compare(
    root: string,
    files: readonly ManifestFile[],
  ): Promise<{ missing: string[]; removed: number }> {
    const known = new Map((this.read()[root]?.files ?? []).map((file) => [file.path, file]));
    const wanted = new Set(files.map(({ path }) => path));
    let removed = 0;
    for (const { path } of known.values()) {
      if (wanted.has(path)) continue;
      rmSync(inside(root, path), { force: true });
      removeEmpty(root, dirname(path));
      removed++;
    }
    const missing: string[] = [];
    for (const file of files) if (!(await isThere(root, file, known.get(file.path)))) missing.push(file.path);
    return { missing, removed };
  }

  /** Takes down what is there now. */
  remember(root: string, files: readonly ManifestFile[]): void {
    const stamped = files.map((file) => ({ ...file, mtimeMs: lstatSync(inside(root, file.path)).mtimeMs }));
    writeFileSync(this.path, JSON.stringify({ ...this.read(), [root]: { files: stamped } }), { mode: 0o600 });
  }
}

/** Unchanged since it was pushed, or of the same content after all. */
async function isThere(
  root: string,
  file: ManifestFile,
  pushed: (ManifestFile & { mtimeMs: number }) | undefined,
): Promise<boolean> {
  const path = inside(root, file.path);
  try {
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) return checksumOf(readlinkSync(path)) === file.checksum;
    if (!stat.isFile() || stat.size !== file.sizeBytes || (stat.mode & 0o111) !== (file.mode & 0o111))
      return false;
    if (pushed?.checksum === file.checksum && pushed.mtimeMs === stat.mtimeMs) return true;
    return (await checksumOfFile(path)) === file.checksum;
  } catch {
    return false;
  }
}

export function checksumOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export async function checksumOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) hash.update(piece);
  return hash.digest("hex");
}

function inside(root: string, path: string): string {
  if (path.startsWith("/") || path.split("/").includes("..")) {
    throw new HawserError("invalid_argument", `'${path}' is not below ${root}.`);
  }
  return join(root, path);
}

function removeEmpty(root: string, folder: string): void {
  for (let at = folder; at !== "." && at !== ""; at = dirname(at)) {
    try {
      rmdirSync(join(root, at));
    } catch {
      return;
    }
  }
}
