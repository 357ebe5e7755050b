/**
 * What of this installation a worker needs: the program, and the packages it loads when it mounts and serves.
 *
 * Packages that only the launcher or a build needs stay at home. The rest is found as Node.js finds it, package by
 * package, so that any layout of node_modules works; on the node each lies flat, or below who asks for another version.
 */
import { existsSync, lstatSync, readFileSync, readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";

/** Not loaded by a worker. */
const LAUNCHER_ONLY = new Set(["@aws-sdk/client-ec2", "node-ssh", "node-gyp", "node-addon-api", "ignore"]);

/** Types, sources, maps and words, and what another Node compiled: a worker loads none of them. */
const LEFT_OUT =
  /\.(?:d\.[cm]?ts|[cm]?ts|map|code|md|markdown|flow|tsbuildinfo)$|^(?:LICENSE.*|CHANGELOG.*|\..*)$/i;
const LEFT_OUT_FOLDERS = new Set([
  "node_modules",
  "dist-types",
  "dist-es",
  "test",
  "tests",
  "__tests__",
  "docs",
  "example",
  "examples",
  ".bin",
]);

interface Manifest {
  dependencies?: Record<string, string>;
}

export interface PackedFile {
  /** On the node, below the part's folder. */
  path: string;
  /** Here. */
  file: string;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** The folder of a package, as Node.js finds it from another. */
function findPackage(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return realpathSync(candidate);
    if (dirname(folder) === folder) return undefined;
  }
}

/** Every package that a worker loads: path below node_modules on the node, and folder here. */
export function workerPackages(root: string): Map<string, string> {
  const placed = new Map<string, string>();
  const visit = (folder: string, place: string): void => {
    for (const name of Object.keys(manifestOf(folder).dependencies ?? {}).sort()) {
      if (LAUNCHER_ONLY.has(name)) continue;
      const found = findPackage(name, folder);
      if (found === undefined) continue;
      const flat = `node_modules/${name}`;
      const present = placed.get(flat);
      if (present === found) continue;
      const at = present === undefined ? flat : `${place}/${flat}`;
      if (placed.get(at) === found) continue;
      placed.set(at, found);
      visit(found, at);
    }
  };
  visit(root, "");
  return new Map([...placed].map(([path, folder]) => [path.replace(/^\//, ""), folder]));
}

/** The files of a package or folder that a worker may load. */
export function loadableFiles(folder: string, place: string): PackedFile[] {
  const files: PackedFile[] = [];
  // dist-es is left out only where there is dist-cjs to load instead.
  const hasCommonJs = existsSync(join(folder, "dist-cjs"));
  const walk = (relative: string): void => {
    for (const name of readdirSync(join(folder, relative)).sort()) {
      const path = relative === "" ? name : `${relative}/${name}`;
      const file = join(folder, path);
      const stat = lstatSync(file);
      if (stat.isDirectory()) {
        if (LEFT_OUT_FOLDERS.has(name) && (name !== "dist-es" || hasCommonJs)) continue;
        walk(path);
      } else if (stat.isFile() && !LEFT_OUT.test(name)) files.push({ path: `${place}/${path}`, file });
    }
  };
  walk("");
  return files;
}
