/**
 * A control group (version 2) for a machine of its own systemd, which makes others below it.
 *
 * It carries the number of the test process that made it: what a killed one left is removed by the next.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../src/daemon/deadline.ts";

export class MachineCgroup {
  private readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** @throws where there is no hierarchy of version 2 */
  static make(machine: string): MachineCgroup {
    const mounts = readFileSync("/proc/mounts", "utf8").split("\n");
    const root = mounts.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
    if (root === undefined) throw new Error("systemd wants control groups of version 2 (cgroup2) here.");
    for (const name of readdirSync(root)) {
      const maker = /^hawser-machine-(\d+)-/.exec(name)?.[1];
      if (maker === undefined || existsSync(`/proc/${maker}`)) continue;
      const stale = new MachineCgroup(join(root, name));
      // A machine that is just ending leaves its group to the next one.
      if (stale.isEmpty) removeFolder(stale.path);
    }
    const path = join(root, `hawser-machine-${process.pid}-${machine}`);
    mkdirSync(path, { recursive: true });
    return new MachineCgroup(path);
  }

  /** A command line that runs another one in here, as the same process. */
  entering(command: readonly string[]): string[] {
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join(this.path, "cgroup.procs"), ...command];
  }

  private get isEmpty(): boolean {
    return readFileSync(join(this.path, "cgroup.events"), "utf8").includes("populated 0");
  }

  /** Once nothing runs in it: the kernel ends processes a moment after the one that they depend on. */
  async remove(): Promise<void> {
    if (!(await until(() => this.isEmpty, 60_000))) throw new Error(`Something still runs in ${this.path}.`);
    removeFolder(this.path);
  }
}

function removeFolder(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeFolder(join(folder, entry.name));
  rmdirSync(folder);
}
