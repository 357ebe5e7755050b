/**
 * Programs from Debian packages for tests, unpacked into the temporary folder: nothing of the system changes. Several
 * test processes may ask at once: one unpacks, the others wait.
 *
 * What is installed already is used as it is.
 */
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
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
    await unpack(folder, packages);
  } catch (error) {
    return { missing: `${name} is not installed and apt-get cannot fetch it: ${(error as Error).message}` };
  }
  const { stdout } = await run("find", [folder, "-name", "*.so*", "-printf", "%h\n"]);
  const libraries = [...new Set(stdout.trim().split("\n").filter(Boolean))];
  return { program: path.join(folder, subfolder, name), env: { LD_LIBRARY_PATH: libraries.join(":") } };
}

const UNPACK = `set -e
folder=$1
shift
[ -e "$folder/complete" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
# A machine that never asked which packages there are has no list of them.
apt-get download -q "$@" || { apt-get update -q && apt-get download -q "$@"; }
for package in *.deb; do dpkg -x "$package" .; done
touch complete
`;

async function unpack(folder: string, packages: readonly string[]): Promise<void> {
  await mkdir(path.dirname(folder), { recursive: true });
  await run("flock", [`${folder}.lock`, "sh", "-c", UNPACK, "sh", folder, ...packages]);
}
