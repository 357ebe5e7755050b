/**
 * Bundles the compiled program: dist/program holds what `bin/hawser.js` and the threads load, out of dist.
 *
 * A command of two hundred small modules spends more time finding them than running. Modules that are always loaded
 * together lie in one file; what is loaded on demand stays a file of its own. Packages are not bundled. Each thread is
 * one file: it shares no module with the program, as it never could. A file is replaced as a whole, those that name others
 * last: who starts the program meanwhile finds the one build or the other, and never half a file.
 *
 * dist itself, which tsc writes, is the library. Both must be of one build: `npm run build` makes both.
 */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = path.join(root, "dist");
const target = path.join(dist, "program");
mkdirSync(target, { recursive: true });
/** Where files are written: beside the target, so that they can be renamed to it. */
const making = mkdtempSync(path.join(dist, "program-"));
process.on("exit", () => rmSync(making, { recursive: true, force: true }));

/** Packages and Node's own modules stay outside: only what dist says by a path is bundled. */
const external = (id) => !id.startsWith(".") && !path.isAbsolute(id);
/** Files whose name has no hash are loaded by that name: see src/store/lean/thread.ts. */
const THREADS = { "reader-worker": "store/reader/worker.js", "sender-worker": "store/sender/worker.js" };
/** In this order: what every command loads, what a listing adds to it, what a copy adds to that. */
const GROUPS = [
  { name: "base", test: /dist\/cli\/(?:main|parse|report)\.js$/, priority: 3 },
  { name: "list", test: /dist\/cli\/commands\/s3\/ls\.js$/, priority: 2 },
  { name: "copy", test: /dist\/cli\/commands\/s3\/(?:cp|sync)\.js$/, priority: 1 },
];

/** @returns the names of the files written */
async function bundle(input, output) {
  const built = await rolldown({
    input,
    external,
    platform: "node",
    checks: { ineffectiveDynamicImport: false },
  });
  const { output: files } = await built.write({ dir: making, format: "esm", comments: false, ...output });
  await built.close();
  return files.map(({ fileName }) => fileName);
}

const written = await bundle(
  { main: path.join(dist, "cli/main.js") },
  { chunkFileNames: "[name]-[hash].js", codeSplitting: { groups: GROUPS } },
);
for (const [name, file] of Object.entries(THREADS)) {
  written.push(...(await bundle({ [name]: path.join(dist, file) }, { codeSplitting: false })));
}
// The entry names the others, and is the last that is replaced.
const entry = "main.js";
for (const name of [...written.filter((one) => one !== entry), entry])
  renameSync(path.join(making, name), path.join(target, name));
// What did not change kept its name: a program that runs meanwhile still finds what it has not loaded yet.
for (const name of readdirSync(target)) {
  if (!written.includes(name)) rmSync(path.join(target, name));
}
