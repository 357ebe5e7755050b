/**
 * The files of a folder that go to the nodes: all but what .gitignore and .hawserignore say, in every folder that has
 * one, and never .git and what Hawser itself puts into a work folder.
 */
import { existsSync, lstatSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import createIgnore from "ignore";
import type { Ignore } from "ignore";
import { HawserError } from "../common/errors.ts";
import { checksumOf, checksumOfFile } from "./worker/files.ts";
import type { ManifestFile } from "./worker/protocol.ts";

const IGNORE_FILES = [".gitignore", ".hawserignore"];
const NEVER = new Set([".git", ".hawser"]);

export interface WorkFile extends ManifestFile {
  /** Here. */
  file: string;
  link: string | undefined;
}

interface Rules {
  /** Below the root; empty for the root itself. */
  folder: string;
  rules: Ignore;
}

/** A folder's files, or one file under its own name. @throws HawserError `not_found` */
export async function workFiles(root: string): Promise<WorkFile[]> {
  if (!existsSync(root))
    throw new HawserError("not_found", `${root} does not exist; correct workdir or files in hawser.yaml.`);
  const paths: string[] = [];
  if (!lstatSync(root).isDirectory()) {
    return [await describe(dirname(root), basename(root))];
  }
  collect(root, "", [], paths);
  const files: WorkFile[] = [];
  for (const path of paths) files.push(await describe(root, path));
  return files;
}

function collect(root: string, folder: string, above: readonly Rules[], paths: string[]): void {
  const at = join(root, folder);
  const text = IGNORE_FILES.flatMap((name) => {
    const path = join(at, name);
    return existsSync(path) ? [readFileSync(path, "utf8")] : [];
  }).join("\n");
  const rules = text === "" ? above : [...above, { folder, rules: createIgnore().add(text) }];
  for (const entry of readdirSync(at, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (NEVER.has(entry.name)) continue;
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (isIgnored(path, entry.isDirectory(), rules)) continue;
    if (entry.isDirectory()) collect(root, path, rules, paths);
    else if (entry.isFile() || entry.isSymbolicLink()) paths.push(path);
  }
}

/** As git decides: the rules nearest to the path that say something about it win. */
function isIgnored(path: string, isFolder: boolean, rules: readonly Rules[]): boolean {
  let ignored = false;
  for (const { folder, rules: own } of rules) {
    const below = folder === "" ? path : path.slice(folder.length + 1);
    const answer = own.test(isFolder ? `${below}/` : below);
    if (answer.ignored) ignored = true;
    else if (answer.unignored) ignored = false;
  }
  return ignored;
}

async function describe(root: string, path: string): Promise<WorkFile> {
  const file = join(root, path);
  const stat = lstatSync(file);
  if (stat.isSymbolicLink()) {
    const link = readlinkSync(file);
    return { path, file, link, mode: 0o777, sizeBytes: 0, checksum: checksumOf(link) };
  }
  return {
    path,
    file,
    link: undefined,
    mode: stat.mode & 0o777,
    sizeBytes: stat.size,
    checksum: await checksumOfFile(file),
  };
}
