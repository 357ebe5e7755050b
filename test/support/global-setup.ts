/** Builds what the tests run: the compiled program for tests that start it, and the addon where it is missing. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export default function setup(): void {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: "inherit",
  });
  if (!existsSync(`${root}native/build`)) {
    execFileSync(process.execPath, ["native/install.js"], { cwd: root, stdio: "inherit" });
  }
}
