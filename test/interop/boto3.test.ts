import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describeCases, runClient } from "./cases.ts";
import type { InteropServer } from "./servers.ts";
import { pipTools } from "../support/pip-tools.ts";

const script = fileURLToPath(new URL("boto3_cases.py", import.meta.url));
const HELPERS = new Set(["data", "refused", "body", "odd_keys", "check_folders"]);
const names = [...readFileSync(script, "utf8").matchAll(/^def (\w+)\(/gm)]
  .map((match) => match[1]!)
  .filter((name) => !HELPERS.has(name));

/** Python takes a second to import boto3, so all cases run in one process, once for each server. */
const runs = new Map<InteropServer, Promise<Map<string, string | null>>>();

async function runAll(server: InteropServer): Promise<Map<string, string | null>> {
  const tools = await pipTools("boto3");
  const output = await runClient(tools.program("python"), [script, ...names], server.environment);
  const results = output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { name: string; error: string | null });
  return new Map(results.map(({ name, error }) => [name, error]));
}

describeCases(
  names.map((name) => ({
    name: `boto3 ${name}`,
    async run(server) {
      if (!runs.has(server)) runs.set(server, runAll(server));
      const error = (await runs.get(server)!).get(name);
      if (error !== null) throw new Error(error ?? `The case ${name} did not run.`);
    },
  })),
);
