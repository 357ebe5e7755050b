/**
 * Compiles test/support and bench for processes of their own, which Node runs without TypeScript.
 *
 * The output lies next to the packages it imports, with a link to the compiled program in the place of `src`: a child
 * and the product share every module, and `instanceof` holds. The program itself must have been built into dist before.
 *
 * Several test files may compile at once, while others run what is there: each compiles into a folder of its own, and a
 * program that has changed takes its place by a rename, so that nobody ever loads half a file.
 */
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const output = path.join(root, "node_modules/.cache/hawser-test");

const fresh = `${output}-${process.pid}`;

mkdirSync(output, { recursive: true });
try {
  symlinkSync("../../../dist", path.join(output, "src"));
} catch (error) {
  if (error.code !== "EEXIST") throw error;
}
mkdirSync(fresh, { recursive: true });
try {
  writeFileSync(path.join(fresh, "package.json"), '{ "type": "module" }\n');
  const compiler = path.join(root, "node_modules/typescript/bin/tsc");
  const project = path.join(root, "test/support/tsconfig.child.json");
  execFileSync(process.execPath, [compiler, "-p", project, "--outDir", fresh], { stdio: "inherit" });
  for (const entry of readdirSync(fresh, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const made = path.join(entry.parentPath, entry.name);
    const place = path.join(output, path.relative(fresh, made));
    if (contentOf(place)?.equals(readFileSync(made))) continue;
    mkdirSync(path.dirname(place), { recursive: true });
    renameSync(made, place);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

function contentOf(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
