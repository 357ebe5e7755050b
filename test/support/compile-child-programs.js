/**
 * Compiles test/support and bench for processes of their own, which Node runs without TypeScript.
 *
 * The output lies next to the packages it imports, with a link to the compiled program in the place of `src`: a child
 * and the product share every module, and `instanceof` holds. The program itself must have been built into dist before.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const output = path.join(root, "node_modules/.cache/hawser-test");

mkdirSync(output, { recursive: true });
writeFileSync(path.join(output, "package.json"), '{ "type": "module" }\n');
try {
  symlinkSync(path.join(root, "dist"), path.join(output, "src"));
} catch (error) {
  if (error.code !== "EEXIST") throw error;
}
const compiler = path.join(root, "node_modules/typescript/bin/tsc");
execFileSync(process.execPath, [compiler, "-p", path.join(root, "test/support/tsconfig.child.json")], {
  stdio: "inherit",
});
