/** What `npm run build` makes of the compiled modules: few files to load, and no package sooner than it is needed. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { packagePath } from "../../../src/common/package-root.ts";

const PROGRAM = packagePath("dist/program");
const STATIC_IMPORT = /^(?:import|export)\b[^;]*?\bfrom "([^"]+)";|^import "([^"]+)";/gm;

/** The files that are loaded with one, itself included, and the packages they name. */
function loadedWith(file: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (name: string): void => {
    if (files.has(name)) return;
    files.add(name);
    for (const [, from, bare] of readFileSync(join(PROGRAM, name), "utf8").matchAll(STATIC_IMPORT)) {
      const specifier = (from ?? bare)!;
      if (specifier.startsWith("./")) visit(basename(specifier));
      else if (!specifier.startsWith("node:")) packages.add(specifier);
    }
  };
  visit(file);
  return { files, packages };
}

/** The file that holds what a table of commands loads under a name. */
function commandFile(table: string, name: string): string {
  const text = readFileSync(join(PROGRAM, table), "utf8");
  const entry = new RegExp(`name: "${name}",[^}]*?import\\("\\./([^"]+)"\\)`).exec(text);
  return entry![1]!;
}

describe("the bundled program", () => {
  const main = loadedWith("main.js");
  const base = [...main.files].find((name) => name.startsWith("base-"))!;
  const s3 = commandFile(base, "s3");

  test.for(["ls", "cp", "sync"])("`hawser s3 %s` loads a handful of files, and no package for it", (name) => {
    const command = loadedWith(commandFile(s3, name));

    const files = new Set([...main.files, ...loadedWith(s3).files, ...command.files]);

    expect(files.size).toBeLessThanOrEqual(8);
    expect([...main.packages, ...command.packages]).toEqual([]);
  });

  test.for(["reader-worker", "sender-worker"])("the thread %s is one file", (name) => {
    const { files, packages } = loadedWith(`${name}.js`);

    expect([...files]).toEqual([`${name}.js`]);
    expect([...packages]).toEqual([]);
  });

  test("every file that one of them names is there", () => {
    const named = readdirSync(PROGRAM).flatMap((file) =>
      [...readFileSync(join(PROGRAM, file), "utf8").matchAll(/import\("\.\/([^"]+)"\)/g)].map(
        ([, name]) => name!,
      ),
    );

    expect(named.length).toBeGreaterThan(50);
    expect(named.filter((name) => !existsSync(join(PROGRAM, name)))).toEqual([]);
  });
});

test("the package's folder is found from the sources", () => {
  expect(existsSync(packagePath("package.json"))).toBe(true);
  expect(existsSync(packagePath("bin/hawser.js"))).toBe(true);
});
