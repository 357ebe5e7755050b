/** Builds what the tests run: the compiled program for tests that start it, and the addon where it is missing. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export default function setup(): void {
  // Type errors do not stop the emit, and are `npm run typecheck`'s to report.
  const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
    cwd: root,
    encoding: "utf8",
  });
  if (tsc.status !== 0) process.stderr.write(`${tsc.stdout.split("\n").slice(0, 5).join("\n")}\n`);
  if (!existsSync(`${root}native/build`)) {
    spawnSync(process.execPath, ["native/install.js"], { cwd: root, stdio: "inherit" });
  }
}
