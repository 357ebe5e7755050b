/** Builds what the tests run, as far as it is older than its sources: the compiled program and the addon. */
import { spawnSync } from "node:child_process";
import type { StdioOptions } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export default function setup(): void {
  // Type errors do not stop the emit, and are `npm run typecheck`'s to report.
  const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
    cwd: root,
    encoding: "utf8",
  });
  if (tsc.status !== 0) process.stderr.write(`${tsc.stdout.split("\n").slice(0, 5).join("\n")}\n`);
  const stdio: StdioOptions = ["ignore", "ignore", "inherit"];
  spawnSync(process.execPath, ["build/program.js"], { cwd: root, stdio });
  spawnSync(process.execPath, ["native/install.js"], { cwd: root, stdio });
}
