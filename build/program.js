/**
 * Bundles the compiled program: dist/program holds what `bin/hawser.js` and the threads load, out of dist.
 *
 * A command of two hundred small modules spends more time finding them than running. Modules that are always loaded
 * together lie in one file; what is loaded on demand stays a file of its own. Packages are not bundled, but for the one
 * that every command loads. Each thread is one file: it shares no module with the program, as it never could. A file is
 * replaced as a whole, those that name others last: who starts the program meanwhile finds the one build or the other,
 * and never half a file.
 *
 * The files are CommonJS, for the compiled code that is kept beside them: see bin/program.js and code.js.
 *
 * dist itself, which tsc writes, is the library. Both must be of one build: `npm run build` makes both.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
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
const external = (id) => !id.startsWith(".") && !path.isAbsolute(id) && id !== "yargs-parser";
/** Files whose name has no hash are loaded by that name: see src/store/lean/thread.ts. */
const THREADS = { "reader-worker": "store/reader/worker.js", "sender-worker": "store/sender/worker.js" };
/** In this order: what every command loads, what a listing adds to it, what a copy adds to that. */
const GROUPS = [
  { name: "base", test: /dist\/cli\/(?:main|parse|report)\.js$/, priority: 3 },
  { name: "list", test: /dist\/cli\/commands\/s3\/ls\.js$/, priority: 2 },
  { name: "copy", test: /dist\/cli\/commands\/s3\/(?:cp|sync)\.js$/, priority: 1 },
];

/** A script that is compiled apart from its file cannot import: bin/program.js does it for it. */
const importPackages = {
  name: "import-packages",
  renderChunk: (code) => ({ code: code.replaceAll(/\bimport\(/g, "importPackage("), map: null }),
};

/** @returns the names of the files written */
async function bundle(input, output, plugins = []) {
  const built = await rolldown({
    input,
    external,
    plugins,
    platform: "node",
    checks: { ineffectiveDynamicImport: false },
  });
  const { output: files } = await built.write({
    dir: making,
    format: "cjs",
    comments: { legal: true, annotation: false, jsdoc: false },
    ...output,
  });
  await built.close();
  return files.map(({ fileName }) => fileName);
}

const written = ["package.json"];
writeFileSync(path.join(making, "package.json"), '{ "type": "commonjs" }\n');
written.push(
  ...(await bundle(
    { main: path.join(dist, "cli/main.js") },
    { chunkFileNames: "[name]-[hash].js", codeSplitting: { groups: GROUPS } },
    [importPackages],
  )),
);
for (const [name, file] of Object.entries(THREADS)) {
  written.push(...(await bundle({ [name]: path.join(dist, file) }, { codeSplitting: false })));
}
// V8 takes code for a source by its length: none may lie beside a source that it was not made of.
for (const name of readdirSync(target)) {
  if (name.endsWith(".code")) rmSync(path.join(target, name));
}
// The entry names the others, and is the last that is replaced.
const entry = "main.js";
for (const name of [...written.filter((one) => one !== entry), entry])
  renameSync(path.join(making, name), path.join(target, name));
// What did not change kept its name: a program that runs meanwhile still finds what it has not loaded yet.
for (const name of readdirSync(target)) {
  if (!written.includes(name)) rmSync(path.join(target, name));
}
execFileSync(process.execPath, [path.join(root, "build", "code.js")], { stdio: "inherit" });
