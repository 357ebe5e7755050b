/** `hawser install`: makes `mount -t hawser`, fstab lines and systemd units work. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { Command } from "../command.ts";
import { INSTALLED_FILES, MARK } from "../system-files.ts";
import type { SystemFile } from "../system-files.ts";
import type { Terminal } from "../terminal.ts";

export const command: Command = {
  usage: ["[--print] [--root FOLDER] [--uninstall]"],
  description:
    "Installs /sbin/mount.hawser, so that 'mount -t hawser s3://bucket/prefix /data -o ro,allow_other' and the same " +
    "line in /etc/fstab work, and the unit template hawser@.service, which mounts a volume of /etc/hawser/hawser.yaml.",
  options: {
    print: { type: "boolean", describe: "Show the files instead of writing them" },
    root: { type: "string", value: "FOLDER", describe: "Write below this folder instead of /" },
    uninstall: { type: "boolean", describe: "Remove what install wrote" },
  },
  maxPositionals: 0,
  examples: [
    ["install", "Install both (as root)"],
    ["install --print", "Show what would be written"],
  ],
  run(args, terminal) {
    const root = args.text("root") ?? "/";
    for (const file of INSTALLED_FILES) {
      const path = join(root, file.path);
      if (args.flag("print")) print(file, terminal);
      else if (args.flag("uninstall")) remove(path, terminal);
      else write(path, file, terminal);
    }
    if (!args.flag("print") && !args.flag("uninstall") && root === "/") {
      terminal.err(
        "hawser: with systemd, run next: systemctl daemon-reload && systemctl enable --now hawser@VOLUME",
      );
    }
    return Promise.resolve();
  },
};

function print(file: SystemFile, terminal: Terminal): void {
  terminal.out(`# ${file.path} (mode ${file.mode.toString(8)})`);
  terminal.out(file.content());
}

function write(path: string, file: SystemFile, terminal: Terminal): void {
  requireOurs(path);
  attempt(path, () => {
    mkdirSync(dirname(path), { recursive: true });
    // Removed first: the mode of a file that exists would stay as it is.
    rmSync(path, { force: true });
    writeFileSync(path, file.content(), { mode: file.mode });
  });
  terminal.err(`hawser: wrote ${path}`);
}

function remove(path: string, terminal: Terminal): void {
  if (!requireOurs(path)) return;
  attempt(path, () => rmSync(path));
  terminal.err(`hawser: removed ${path}`);
}

/** @returns whether there is a file @throws HawserError `exists` when it is not one that we wrote */
function requireOurs(path: string): boolean {
  let present: string;
  try {
    present = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw explained(path, error);
  }
  if (present.includes(MARK)) return true;
  throw new HawserError("exists", `${path} exists and was not written by Hawser; move it away first.`);
}

function attempt(path: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    throw explained(path, error);
  }
}

function explained(path: string, error: unknown): HawserError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new HawserError("permission_denied", `${path} cannot be written (${code}); run it as root.`, {
    cause: error,
  });
}
