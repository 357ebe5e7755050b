/**
 * Programs from crates.io for interop tests, built once and kept in the temporary folder.
 *
 * The versions are pinned: a list of exceptions holds for the version it was made with. A build takes about a minute.
 */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const CRATES = { fsx: "0.3.2", pjdfstest: "0.2.2" } as const;

const run = promisify(execFile);

/** @returns the program, or why there is none. @throws what cargo said */
export async function cargoTool(
  name: keyof typeof CRATES,
): Promise<{ program: string } | { missing: string }> {
  const cargo = await run("cargo", ["--version"]).catch(() => undefined);
  if (!cargo) return { missing: "cargo is not installed" };
  const version = CRATES[name];
  const root = join(tmpdir(), "hawser-cargo-tools");
  mkdirSync(root, { recursive: true });
  const folder = join(root, `${name}-${version}`);
  // One builds, the others wait; the program appears in its place only when it is whole.
  const script = `
    [ -x "$1/bin/$2" ] || nice cargo install --quiet --locked --root "$1" --version "$3" "$2"`;
  await run("flock", [`${folder}.lock`, "sh", "-c", script, "sh", folder, name, version]);
  return { program: join(folder, "bin", name) };
}
