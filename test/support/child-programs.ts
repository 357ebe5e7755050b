/**
 * Programs of the tests that run in a process of their own, such as one that serves a mount.
 *
 * Node does not run TypeScript here, so these files are compiled next to the packages they import, with a link to the
 * compiled program in the place of `src`: a child and the product share every module, and `instanceof` holds.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const output = path.join(root, "node_modules/.cache/hawser-test");

/** Compiles test/support and bench. The program itself must have been built into dist before. */
export function compileChildPrograms(): void {
  mkdirSync(output, { recursive: true });
  writeFileSync(path.join(output, "package.json"), '{ "type": "module" }\n');
  try {
    symlinkSync(path.join(root, "dist"), path.join(output, "src"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const project = path.join(root, "test/support/tsconfig.child.json");
  execFileSync(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", project], {
    stdio: "inherit",
  });
}

/** The compiled form of a source file, e.g. `test/support/serve-memory.ts`. */
export function childProgram(source: string): string {
  return path.join(output, source.replace(/\.ts$/, ".js"));
}
