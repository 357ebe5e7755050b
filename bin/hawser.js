#!/usr/bin/env node
/** The program, bundled by build/program.js. It needs `npm run build` once in a clone; a package comes built. */
import { existsSync } from "node:fs";

const program = new URL("../dist/program/main.js", import.meta.url);
if (existsSync(program)) {
  const { main } = await import(program.href);
  await main(process.argv.slice(2));
} else {
  process.stderr.write("error: Hawser is not built; run: npm run build\n");
  process.exitCode = 1;
}
