/** Folders with files to move, and their comparison. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

import { syntheticBytes } from "../../src/devs3/index.ts";

export const MIB = 1024 * 1024;

/** Names that clients and servers quote, encode or sort in their own ways, and sizes around what they treat apart. */
const TREE: Record<string, number> = {
  empty: 0,
  one: 1,
  "with space.txt": 100,
  "plus+and&amp=#?.bin": 1000,
  "ünï cödé/日本 \u{1f600}.dat": 5000,
  "deep/a/b/c/d/e.txt": 10,
  "percent%20/100%.txt": 20,
  'quote\'s/"double".txt': 30,
  "big/ten.bin": 10 * MIB + 1,
  "big/twenty.bin": 20 * MIB,
};

export interface Scratch {
  folder: string;
  /** A path in it. */
  path(...names: string[]): string;
  remove(): Promise<void>;
}

export async function scratch(): Promise<Scratch> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-interop-files-"));
  return {
    folder,
    path: (...names) => join(folder, ...names),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Writes the tree and returns what `digests` of it is. */
export async function makeTree(folder: string): Promise<Record<string, string>> {
  let seed = 1;
  for (const [name, sizeBytes] of Object.entries(TREE)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, syntheticBytes(seed++, 0, sizeBytes));
  }
  return digests(folder);
}

/** SHA-256 of every file by its path in the folder. */
export async function digests(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found[relative(folder, path)] = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  }
  return found;
}

/** A work folder for one case, gone afterwards. */
export async function inScratch(work: (at: Scratch) => Promise<void>): Promise<void> {
  const at = await scratch();
  try {
    await work(at);
  } finally {
    await at.remove();
  }
}
