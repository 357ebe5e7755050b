/** How an error is shown: what happened and what to do; a stack only for who asks. */
import { inspect } from "node:util";
import { toHawserError } from "../common/errors.ts";
import type { HawserError } from "../common/errors.ts";
import { exitCodeOf } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

/** Shows an error. @returns the exit code */
export function reportError(error: unknown, terminal: Terminal): number {
  const failure = toHawserError(error);
  const [first, ...more] = failure.message.split("\n");
  terminal.err(
    `${terminal.paintErr("red", "error:")} ${first} ${terminal.paintErr("dim", `[${failure.code}]`)}`,
  );
  for (const line of more) terminal.err(`       ${line}`);
  const detail = storeDetail(failure);
  if (detail) terminal.err(terminal.paintErr("dim", `       ${detail}`));
  if (terminal.verbose) terminal.err(inspect(error, { depth: 6 }));
  else if (failure.code === "internal")
    terminal.err("       This is a bug in Hawser; run it again with --verbose to see where.");
  return exitCodeOf(failure);
}

function storeDetail({ s3Code, httpStatus, requestId }: HawserError): string {
  const parts = [s3Code, httpStatus && `HTTP ${httpStatus}`, requestId && `request ${requestId}`];
  const said = parts.filter(Boolean).join(", ");
  return said && `the store said: ${said}`;
}
