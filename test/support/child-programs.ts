/** Programs of the tests that run in a process of their own, such as one that serves a mount. */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Where compile-child-programs.js puts them; a compiled program finds its neighbours in the same place. */
const OUTPUT = "node_modules/.cache/hawser-test";

/** Compiles test/support and bench. */
export function compileChildPrograms(): void {
  execFileSync(process.execPath, [path.join(root, "test/support/compile-child-programs.js")], {
    stdio: "inherit",
  });
}

/** The compiled form of a source file, e.g. `test/support/serve-memory.ts`. */
export function childProgram(source: string): string {
  const folder = root.endsWith(`${OUTPUT}/`) ? root : path.join(root, OUTPUT);
  return path.join(folder, source.replace(/\.ts$/, ".js"));
}
