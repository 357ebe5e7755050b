/** A control group (version 2) for a machine of its own systemd, which makes others below it. */
import { mkdirSync, readFileSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";

export class MachineCgroup {
  private readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** @throws where there is no hierarchy of version 2 */
  static make(name: string): MachineCgroup {
    const mounts = readFileSync("/proc/mounts", "utf8").split("\n");
    const root = mounts.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
    if (root === undefined) throw new Error("systemd wants control groups of version 2 (cgroup2) here.");
    const path = join(root, name);
    mkdirSync(path, { recursive: true });
    return new MachineCgroup(path);
  }

  /** A command line that runs another one in here, as the same process. */
  entering(command: readonly string[]): string[] {
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join(this.path, "cgroup.procs"), ...command];
  }

  /** Once nothing runs in it. */
  remove(): void {
    const removeFolder = (folder: string): void => {
      for (const entry of readdirSync(folder, { withFileTypes: true }))
        if (entry.isDirectory()) removeFolder(join(folder, entry.name));
      rmdirSync(folder);
    };
    removeFolder(this.path);
  }
}
