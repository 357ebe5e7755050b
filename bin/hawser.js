#!/usr/bin/env node
/** The program, bundled by build/program.js. It needs `npm run build` once in a clone; a package comes built. */
"use strict";
const { existsSync } = require("node:fs");
const path = require("node:path");
const { Program } = require("./program.js");

const folder = path.join(__dirname, "..", "dist", "program");
if (existsSync(path.join(folder, "main.js"))) {
  void new Program(folder).load("main.js").main(process.argv.slice(2));
} else {
  process.stderr.write("error: Hawser is not built; run: npm run build\n");
  process.exitCode = 1;
}
