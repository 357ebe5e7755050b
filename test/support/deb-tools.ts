/**
 * Programs from Debian packages for interop tests, unpacked into the temporary folder: nothing of the system changes.
 *
 * What is installed already is used as it is.
 */
import { execFile } from "node:child_process";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface DebTool {
  program: string;
  /** What its libraries are found by. */
  env: Record<string, string>;
}

/** @returns the program, or why there is none */
export async function debTool(
  name: string,
  packages: readonly string[],
  /** Where the package has it. */
  subfolder = "usr/bin",
): Promise<DebTool | { missing: string }> {
  const installed = await run("sh", ["-c", `command -v ${name}`]).catch(() => undefined);
  if (installed) return { program: installed.stdout.trim(), env: {} };
  const folder = path.join(tmpdir(), "hawser-deb-tools", name);
  try {
    if (!(await isComplete(folder))) await unpack(folder, packages);
  } catch (error) {
    return { missing: `${name} is not installed and apt-get cannot fetch it: ${(error as Error).message}` };
  }
  const { stdout } = await run("find", [folder, "-name", "*.so*", "-printf", "%h\n"]);
  const libraries = [...new Set(stdout.trim().split("\n").filter(Boolean))];
  return { program: path.join(folder, subfolder, name), env: { LD_LIBRARY_PATH: libraries.join(":") } };
}

async function isComplete(folder: string): Promise<boolean> {
  const names: string[] = await readdir(folder).catch(() => []);
  return names.includes("complete");
}

async function unpack(folder: string, packages: readonly string[]): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await run("apt-get", ["download", "-q", ...packages], { cwd: folder });
  for (const name of await readdir(folder)) {
    if (name.endsWith(".deb")) await run("dpkg", ["-x", name, "."], { cwd: folder });
  }
  await writeFile(path.join(folder, "complete"), "");
}
