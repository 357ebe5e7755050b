/**
 * npm run bench -- <suite> [--json] [--check] [options of the suite]
 *
 * Builds the program and the benchmarks, then runs one suite, a module of this folder with an exported `run`. `--json`
 * prints one object instead of a table; `--check` ends with 1 when a bar is missed.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [suite, ...args] = process.argv.slice(2);

if (!suite || !/^[a-z-]+$/.test(suite) || !existsSync(path.join(root, "bench", `${suite}.ts`))) {
  console.error("usage: npm run bench -- channel|walk|bulk|write|pool [--json] [--check] [--runs N]");
  process.exit(2);
}

/** What is built says so on stderr: stdout is the result. */
function node(...program) {
  execFileSync(process.execPath, program, { cwd: root, stdio: ["ignore", 2, 2] });
}

node("node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json");
node("build/program.js");
node("test/support/compile-child-programs.js");
const compiled = path.join(root, "node_modules/.cache/hawser-test/bench", `${suite}.js`);
const { run } = await import(pathToFileURL(compiled).href);
process.exitCode = await run(args);
