/**
 * Builds the native addon where it is missing. Run by npm's `install` step, and by `npm run build:native` (--force).
 *
 * npm install must never fail for it: on another system than Linux, or without a compiler, it says what that costs and
 * how to change it, and exits 0. Only an explicit --force reports a failed build by its exit code. It works without a
 * network where Node's headers are installed beside Node.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const force = process.argv.includes("--force");

/** What a build needs, and the package that has it. */
const TOOLS = [
  { program: "g++", debian: "g++", fedora: "gcc-c++" },
  { program: "make", debian: "make", fedora: "make" },
  { program: "python3", debian: "python3", fedora: "python3" },
];

function say(line) {
  process.stdout.write(`hawser: ${line}\n`);
}

/** Path of the addon that would be loaded, or undefined where none loads on this machine. */
function loadable() {
  try {
    const path = require("node-gyp-build").path(here);
    // In a process of its own: a broken build must not take the installer with it.
    execFileSync(process.execPath, ["-e", "require(process.argv[1])", path], { stdio: "ignore" });
    return path;
  } catch {
    return undefined;
  }
}

function sourcesNewerThan(path) {
  if (!path.startsWith(join(here, "build"))) return false;
  const builtMs = statSync(path).mtimeMs;
  const sources = [
    join(here, "binding.gyp"),
    ...readdirSync(join(here, "src")).map((name) => join(here, "src", name)),
  ];
  return sources.some((source) => statSync(source).mtimeMs > builtMs);
}

function onPath(program) {
  const folders = (process.env.PATH ?? "").split(":");
  return folders.some((folder) => folder !== "" && existsSync(join(folder, program)));
}

function explainMissing(missing) {
  const names = missing.map((tool) => tool.program).join(", ");
  say(`the native addon was not built: ${names} not found.`);
  say(`  Debian, Ubuntu: sudo apt-get install ${missing.map((tool) => tool.debian).join(" ")}`);
  say(`  Fedora, Amazon Linux 2023: sudo dnf install ${missing.map((tool) => tool.fedora).join(" ")}`);
  say("then: npm rebuild hawser (or npm run build:native in a checkout).");
  say("Without it, mounts need --channel fuse-native, which is much slower.");
}

/** Node's own headers where they are installed, so that nothing needs downloading. */
function headersFolder() {
  const prefix = join(dirname(process.execPath), "..");
  return existsSync(join(prefix, "include", "node", "node_api.h")) ? prefix : undefined;
}

function build() {
  const nodeGyp = join(dirname(require.resolve("node-gyp/package.json")), "bin", "node-gyp.js");
  const headers = headersFolder();
  const args = [nodeGyp, "rebuild", "--directory", here, "--loglevel", "warn", "--jobs", "2"];
  if (headers) args.push("--nodedir", headers);
  const result = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (result.status === 0) return true;
  process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}\n`);
  return false;
}

function main() {
  if (process.platform !== "linux") {
    say("mounting needs Linux; the launcher and `hawser s3` work here. The native addon is not built.");
    return 0;
  }
  const present = loadable();
  if (present && !force && !sourcesNewerThan(present)) return 0;
  const missing = TOOLS.filter((tool) => !onPath(tool.program));
  if (missing.length > 0) {
    explainMissing(missing);
    return force ? 1 : 0;
  }
  const started = Date.now();
  if (!build() || !loadable()) {
    say("the native addon could not be built; the output above says why. Mounts need --channel fuse-native.");
    return force ? 1 : 0;
  }
  say(`native addon built in ${((Date.now() - started) / 1000).toFixed(0)} s.`);
  return 0;
}

process.exitCode = main();
