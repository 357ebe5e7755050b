/** What most commands on a pool that exists have in common. */
import { Pool } from "../../../launch/pool.ts";
import type { Arguments, Option } from "../../command.ts";
import type { Terminal } from "../../terminal.ts";
import { JSON_OPTION, poolAndNode, poolName } from "./options.ts";
import { interruption, showEvents } from "./show.ts";

export const FIND_OPTIONS = {
  config: { type: "string", alias: "c", value: "FILE", describe: "hawser.yaml that names the pool" },
  ...JSON_OPTION,
} as const satisfies Record<string, Option>;

/**
 * @param command what the pool is taken for
 * @param lock whether nobody else may work on it meanwhile
 */
export async function withPool<T>(
  command: string,
  { args, terminal, lock }: { args: Arguments; terminal: Terminal; lock: boolean },
  body: (pool: Pool, found: { node: string | undefined; signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const { name, node } = poolAndNode(poolName(command, args, terminal.environment));
  const interrupted = interruption(terminal, "stopping");
  try {
    const pool = await Pool.find(name, lock ? command : undefined, {
      environment: terminal.environment,
      onEvent: showEvents(terminal, args.flag("json")),
      signal: interrupted.signal,
    });
    try {
      return await body(pool, { node, signal: interrupted.signal });
    } finally {
      pool.close();
    }
  } finally {
    interrupted.end();
  }
}
