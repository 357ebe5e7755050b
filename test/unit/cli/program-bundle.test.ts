/** What `npm run build` makes of the compiled modules: few files to load, and no package sooner than it is needed. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules, createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { packagePath } from "../../../src/common/package-root.ts";

const PROGRAM = packagePath("dist/program");

/** As bin/program.js has it, which is loaded before any type is. */
interface Loader {
  load(name: string): unknown;
  keepCode(): string[];
}
const { Program } = createRequire(import.meta.url)(packagePath("bin/program.js")) as {
  Program: new (folder: string) => Loader;
};
/** Begins a line: what is loaded on demand stands inside a function. */
const STATIC_IMPORT = /^(?:(?:const|let|var) [^;\n]*?= )?require\("([^"]+)"\)/gm;
const NODE_MODULE = new Set(builtinModules);

/** The files that are loaded with one, itself included, and the packages they name. */
function loadedWith(file: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (name: string): void => {
    if (files.has(name)) return;
    files.add(name);
    for (const [, from] of readFileSync(join(PROGRAM, name), "utf8").matchAll(STATIC_IMPORT)) {
      const specifier = from!;
      if (specifier.startsWith("./")) visit(basename(specifier));
      else if (!NODE_MODULE.has(specifier.replace("node:", ""))) packages.add(specifier);
    }
  };
  visit(file);
  return { files, packages };
}

/** The file that holds what a table of commands loads under a name. */
function commandFile(table: string, name: string): string {
  const text = readFileSync(join(PROGRAM, table), "utf8");
  const entry = new RegExp(`name: "${name}",[^}]*?require\\("\\./([^"]+)"\\)`).exec(text);
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
    const files = readdirSync(PROGRAM).filter((name) => name.endsWith(".js"));
    const named = files.flatMap((file) =>
      [...readFileSync(join(PROGRAM, file), "utf8").matchAll(/require\("\.\/([^"]+)"\)/g)].map(
        ([, name]) => name!,
      ),
    );

    expect(named.length).toBeGreaterThan(50);
    expect(named.filter((name) => !existsSync(join(PROGRAM, name)))).toEqual([]);
  });
});

describe("code that V8 compiled before", () => {
  /** Loads a copy of a file of the bundle, whose code was made of `source`. */
  function loaded(source: string, code?: Buffer): unknown {
    const folder = mkdtempSync(join(tmpdir(), "hawser-program-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "main.js"), source);
    const [written] = (() => {
      const program = new Program(folder);
      program.load("main.js");
      return program.keepCode();
    })();
    if (code) writeFileSync(written!, code);
    return new Program(folder).load("main.js");
  }

  test("is loaded, and does what the source says", () => {
    expect(loaded("exports.answer = (() => 6 * 7)();")).toEqual({ answer: 42 });
  });

  test("that fits nothing is left aside", () => {
    expect(loaded("exports.answer = 42;", Buffer.from("no code at all"))).toEqual({ answer: 42 });
  });

  test("lies beside every file that a listing and a copy load", () => {
    const main = loadedWith("main.js").files;
    const base = [...main].find((name) => name.startsWith("base-"))!;
    const s3 = commandFile(base, "s3");
    const files = ["ls", "cp"].flatMap((name) => [...loadedWith(commandFile(s3, name)).files]);
    const kept = readdirSync(PROGRAM).filter((name) => name.endsWith(".code"));

    expect([...main, ...files].filter((name) => !kept.some((code) => code.startsWith(`${name}.`)))).toEqual(
      [],
    );
  });

  test("a package is imported by name from a loaded file", async () => {
    const { version } = loaded(
      'exports.version = () => importPackage("node:process").then(({ version }) => version);',
    ) as { version: () => Promise<string> };

    expect(await version()).toBe(process.version);
  });
});

test("the package's folder is found from the sources", () => {
  expect(existsSync(packagePath("package.json"))).toBe(true);
  expect(existsSync(packagePath("bin/hawser.js"))).toBe(true);
});
