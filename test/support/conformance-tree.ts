/**
 * The tree that the conformance table looks at, described once for both sides: the process that serves it and the test
 * that knows what must be seen.
 */
import { GiB, MiB } from "../../src/common/units.ts";
import type { MemoryTree } from "./memory-node.ts";
import { SparseContent } from "./sparse-content.ts";

/** Patterned files of /files: name to size and seed. */
export const FILES = {
  empty: { sizeBytes: 0, seed: 1 },
  one: { sizeBytes: 1, seed: 2 },
  "mib-less": { sizeBytes: MiB - 1, seed: 3 },
  mib: { sizeBytes: MiB, seed: 4 },
  "mib-more": { sizeBytes: MiB + 1, seed: 5 },
  middling: { sizeBytes: 12 * MiB + 345, seed: 6 },
  slow: { sizeBytes: 4096, seed: 7 },
  changing: { sizeBytes: 300_000, seed: 8 },
  huge: { sizeBytes: 5 * GiB + 17, seed: 9 },
} as const;

/** Names of /names; each file holds its own name. */
export const NAMES = [
  "with space",
  "ünïcödé-名前-🚀",
  "new\nline",
  "quo\"te's",
  "back\\slash",
  "-dash",
  ".dot",
  "%41&amp;*?[x]",
  "n".repeat(255),
  "é".repeat(127),
];

/** Symlinks of /links. */
export const LINKS = {
  "to-file": "../files/one",
  "to-folder": "../names",
  dangling: "nowhere",
  "loop-a": "loop-b",
  "loop-b": "loop-a",
  unicode: "名前/ünï",
} as const;

export const XATTRS = { "user.color": "blue", "user.empty": "", "user.long": "x".repeat(3000) } as const;

export const PROGRAM = '#!/bin/sh\necho "ran with $1"\n';

/** Names of the folder /big, when it was asked for. */
export function bigName(index: number): string {
  return `entry-${String(index).padStart(7, "0")}.jpg`;
}

/** Fills an empty tree. `bigEntries` files go to /big. */
export function buildConformanceTree(tree: MemoryTree, bigEntries = 0): void {
  const folder = (name: string) => tree.add(tree.root, name, { type: "directory" });
  const files = folder("files");
  for (const [name, { sizeBytes, seed }] of Object.entries(FILES)) {
    tree.add(files, name, { type: "file", content: new SparseContent(sizeBytes, seed) });
  }
  const text = (value: string) => SparseContent.of(Buffer.from(value));
  tree.add(files, "program", { type: "file", mode: 0o755, content: text(PROGRAM) });
  tree.add(files, "private", { type: "file", mode: 0o600, content: text("secret") });
  tree.add(files, "foreign", {
    type: "file",
    uid: 12_345,
    gid: 54_321,
    mode: 0o640,
    content: text("theirs"),
  });

  const names = folder("names");
  for (const name of NAMES) tree.add(names, name, { type: "file", content: text(name) });

  const links = folder("links");
  for (const [name, target] of Object.entries(LINKS)) tree.add(links, name, { type: "symlink", target });

  const attributes = tree.add(folder("xattrs"), "file", { type: "file" });
  for (const [name, value] of Object.entries(XATTRS)) attributes.xattrs.set(name, Buffer.from(value));

  let deep = folder("deep");
  for (let level = 1; level <= 20; level++) deep = tree.add(deep, `level-${level}`, { type: "directory" });
  tree.add(deep, "bottom", { type: "file", content: text("bottom") });

  folder("work");
  const big = folder("big");
  for (let index = 0; index < bigEntries; index++) {
    tree.add(big, bigName(index), { type: "file", content: new SparseContent(index, index) });
  }
}
