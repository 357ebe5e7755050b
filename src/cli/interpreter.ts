/** What runs a script: its first line, else its ending, else itself. */
import { constants } from "node:fs";
import { access, open } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import { localError } from "../common/local-error.ts";

const BY_ENDING: Readonly<Record<string, readonly string[]>> = {
  ".py": ["python3"],
  ".sh": ["bash"],
  ".bash": ["bash"],
  ".js": [process.execPath],
  ".mjs": [process.execPath],
  ".cjs": [process.execPath],
  ".r": ["Rscript"],
  ".jl": ["julia"],
  ".pl": ["perl"],
  ".rb": ["ruby"],
};
/** The kernel reads no more of a first line. */
const LONGEST_LINE = 256;

/** The words that run a script, the script included. @throws HawserError `not_found`, `invalid_argument` */
export async function interpreterOf(script: string): Promise<string[]> {
  const line = await firstLine(script);
  if (line.startsWith("#!")) {
    const words = shebangWords(line);
    if (words.length > 0) return [...words, script];
  }
  const interpreter = BY_ENDING[extname(script).toLowerCase()];
  if (interpreter) return [...interpreter, script];
  try {
    await access(script, constants.X_OK);
    return [resolve(script)];
  } catch {
    throw new HawserError(
      "invalid_argument",
      `Nothing says what runs ${script}: begin it with a line such as #!/usr/bin/env python3, or make it executable.`,
    );
  }
}

/** As Linux does it: the program, and all that is behind it as one argument; env -S parts it. */
export function shebangWords(line: string): string[] {
  const match = /^#!\s*(\S+)(?:\s+(.*?))?\s*$/.exec(line);
  if (!match) return [];
  return match[2] ? [match[1]!, match[2]] : [match[1]!];
}

async function firstLine(script: string): Promise<string> {
  try {
    await using file = await open(script, "r");
    const { buffer, bytesRead } = await file.read(Buffer.alloc(LONGEST_LINE), 0, LONGEST_LINE, 0);
    return buffer.subarray(0, bytesRead).toString("utf8").split("\n", 1)[0]!;
  } catch (error) {
    throw localError(error, script);
  }
}
