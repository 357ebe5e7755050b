/** What `npm ci` says and does where the addon cannot be built. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
let checkout: string;

/** A checkout in which nothing was built yet. */
beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), "hawser-install-"));
  mkdirSync(join(checkout, "native/src"), { recursive: true });
  mkdirSync(join(checkout, "path"));
  writeFileSync(join(checkout, "package.json"), '{ "type": "module" }');
  copyFileSync(join(root, "native/install.js"), join(checkout, "native/install.js"));
  copyFileSync(join(root, "native/binding.gyp"), join(checkout, "native/binding.gyp"));
  symlinkSync(join(root, "node_modules"), join(checkout, "node_modules"));
});

afterEach(() => rmSync(checkout, { recursive: true, force: true }));

function install(present: string[], args: string[] = []) {
  for (const program of present) symlinkSync("/bin/true", join(checkout, "path", program));
  return spawnSync(process.execPath, [join(checkout, "native/install.js"), ...args], {
    env: { PATH: join(checkout, "path") },
    encoding: "utf8",
  });
}

test("names what is missing and how to get it on Debian, Fedora and Amazon Linux, and lets npm go on", () => {
  const run = install(["python3"]);
  expect(run.status).toBe(0);
  expect(run.stdout).toContain("g++, make not found");
  expect(run.stdout).toContain("sudo apt-get install g++ make");
  expect(run.stdout).toMatch(/Fedora, Amazon Linux.*sudo dnf install gcc-c\+\+ make/);
});

test("says only what is missing", () => {
  const run = install(["g++", "make"]);
  expect(run.stdout).toContain("python3 not found");
  expect(run.stdout).not.toContain("apt-get install g++");
});

test("a build that was asked for fails by its exit code", () => {
  expect(install([], ["--force"]).status).toBe(1);
});
