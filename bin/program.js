/**
 * Loads the bundled program, with what V8 had compiled of it before.
 *
 * A short command spends more time compiling its functions than running them. The build runs a few commands and keeps
 * their code beside each file, under the name of the V8 that made it: another Node does without. V8 compares version,
 * flags and the source's length, and refuses what does not fit; the build makes code and source together.
 *
 * CommonJS, as the bundle is: V8 takes code for scripts, not for modules, and Node 20 takes ten milliseconds to begin
 * with modules.
 */
"use strict";
const { readFileSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const vm = require("node:vm");

/** What a file of the bundle is a function of: CommonJS's five, and what it writes for `import()` of a package. */
const PARAMETERS = "exports, require, module, __filename, __dirname, importPackage";
const importPackage = (name) => import(name);

class Program {
  #folder;
  #require;
  #modules = new Map();
  #scripts = new Map();

  /** @param {string} folder with the bundle's files */
  constructor(folder) {
    this.#folder = folder;
    this.#require = createRequire(path.join(folder, "main.js"));
  }

  /** What a file of the bundle exports; it runs once. */
  load(name) {
    const known = this.#modules.get(name);
    if (known) return known.exports;
    const file = path.join(this.#folder, name);
    const source = readFileSync(file, "utf8");
    const wrapped = `(function (${PARAMETERS}) {${source}\n})`;
    const script = new vm.Script(wrapped, { filename: file, cachedData: codeOf(file) });
    this.#scripts.set(file, script);
    const module = { exports: {} };
    this.#modules.set(name, module);
    const from = (id) => (id.startsWith("./") ? this.load(id.slice(2)) : this.#require(id));
    script.runInThisContext()(module.exports, from, module, file, this.#folder, importPackage);
    return module.exports;
  }

  /** Keeps the code of what was loaded, with every function that has run. @returns the files written */
  keepCode() {
    return [...this.#scripts].map(([file, script]) => {
      writeFileSync(codeFile(file), script.createCachedData());
      return codeFile(file);
    });
  }
}

function codeFile(file) {
  return `${file}.${process.arch}-${process.versions.v8}.code`;
}

function codeOf(file) {
  try {
    return readFileSync(codeFile(file));
  } catch {
    return undefined;
  }
}

module.exports = { Program };
