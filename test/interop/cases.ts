/** Runs the same cases against every server: one that a server is known to fail must fail there. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, test } from "vitest";

import { differenceOf } from "./differences.ts";
import { SERVER_NAMES, startServer, type InteropServer } from "./servers.ts";

export interface Case {
  /** With the client's name in front: `boto3 listing`. */
  name: string;
  run(server: InteropServer): Promise<void>;
}

/** @param concurrent for clients that spend their time starting: cases that do not meet in the bucket run side by side */
export function describeCases(cases: readonly Case[], { concurrent = false } = {}): void {
  const declare = concurrent ? test.concurrent : test;
  describe.each(SERVER_NAMES)("%s", (name) => {
    let server: InteropServer;
    beforeAll(async () => void (server = await startServer(name)));
    afterAll(() => server?.close());

    for (const one of cases) {
      const difference = differenceOf(name, one.name);
      if (difference) declare.fails(`${one.name} (${difference.reason})`, () => one.run(server));
      else declare(one.name, () => one.run(server));
    }
  });
}

const execute = promisify(execFile);

/** Runs a client and returns what it printed; its words are in the error when it fails. */
export async function runClient(
  program: string,
  args: readonly string[],
  environment: Record<string, string>,
  cwd?: string,
): Promise<string> {
  const { stdout } = await execute(program, args, {
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", LANG: "C.UTF-8", ...environment },
    cwd,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
