/**
 * The package as it is published, unpacked in a folder of its own: nothing is built there, so it has no addon. What it
 * depends on is this checkout's.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./run.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** @returns the package's folder, below the one that is given */
export async function unpackPackage(folder: string): Promise<string> {
  const packed = join(folder, "packed");
  mkdirSync(packed);
  await run("npm", ["pack", ROOT, "--ignore-scripts", "--silent", "--pack-destination", packed]);
  await run("sh", ["-c", 'tar -xzf "$1"/*.tgz -C "$2"', "sh", packed, folder]);
  const unpacked = join(folder, "package");
  symlinkSync(join(ROOT, "node_modules"), join(unpacked, "node_modules"));
  return unpacked;
}

/** @returns a module that, loaded first, makes a program believe that it runs on macOS */
export function pretendMacOs(folder: string): string {
  const path = join(folder, "mac-os.cjs");
  writeFileSync(path, 'Object.defineProperty(process, "platform", { value: "darwin" });\n');
  return path;
}
