/**
 * Carries out file commands in a process of its own, which can be killed: a call on a mount that hangs must not take
 * the tests with it.
 *
 * A line of JSON on stdin is a question, a line on stdout its answer, in the same order.
 */
import { createInterface } from "node:readline";
import { carryOut } from "../e2e/file-commands.ts";
import type { FileCommand } from "../e2e/file-commands.ts";
import { folderTree } from "../e2e/stored-tree.ts";

/** Without a command it is the tree that is asked for. */
export interface FileQuestion {
  root: string;
  command?: FileCommand;
}

for await (const line of createInterface(process.stdin)) {
  const { root, command } = JSON.parse(line) as FileQuestion;
  let answer: unknown;
  try {
    answer = { value: command ? await carryOut(root, command) : await folderTree(root) };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
