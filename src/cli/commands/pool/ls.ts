/** `hawser pool ls`. */
import { formatDuration } from "../../../common/units.ts";
import { findOrphans } from "../../../launch/orphans.ts";
import { PoolFolder, poolRoot } from "../../../launch/pool-folder.ts";
import type { Command } from "../../command.ts";
import { table } from "../../table.ts";

export const command: Command = {
  usage: ["[--json] [--everyone]"],
  description:
    "Lists the pools of this user: those that this machine knows, and those that providers find besides.",
  options: {
    json: { type: "boolean", describe: "One JSON array" },
    everyone: { type: "boolean", describe: "Those of other users of the account too" },
  },
  maxPositionals: 0,
  examples: [["pool ls", "List pools"]],
  async run(args, terminal) {
    const root = poolRoot(terminal.environment);
    const known = PoolFolder.list(root).flatMap((folder) => {
      if (folder.isDamaged()) {
        terminal.err(`hawser: the record of the pool '${folder.name}' is damaged; see 'hawser pool cleanup'`);
        return [];
      }
      const record = folder.read();
      return record ? [{ ...record, at: folder.holder()?.command }] : [];
    });
    const pools = known.map(({ name, provider, phase, nodes, expiresMs, owner, at }) => ({
      name,
      provider,
      phase: expiresMs !== undefined && expiresMs < Date.now() ? "expired" : phase,
      nodes: nodes.length,
      expiresMs: expiresMs ?? null,
      owner: owner.label,
      command: at ?? null,
    }));
    const { orphans, unasked } = await findOrphans(terminal.environment, {
      everyone: args.flag("everyone"),
      signal: new AbortController().signal,
    });
    for (const { provider, pool } of orphans) {
      const { name, nodes, expiresMs, owner } = pool;
      const base = { name, provider: provider.kind, phase: "orphaned", nodes: nodes.length };
      pools.push({ ...base, expiresMs: expiresMs ?? null, owner: owner.label, command: null });
    }
    for (const { kind, error } of unasked) {
      if (known.some(({ provider }) => provider === kind) || error.code !== "credentials_missing")
        terminal.err(
          `hawser: pools of ${kind} without a record here could not be looked for: ${error.message}`,
        );
    }
    if (args.flag("json")) {
      terminal.out(JSON.stringify(pools));
      return;
    }
    if (pools.length === 0) terminal.out("There are no pools.");
    else {
      const rows = pools.map(({ name, provider, phase, nodes, expiresMs, owner, command }) => [
        name,
        provider,
        command ? `${phase} (${command})` : phase,
        String(nodes),
        expiresMs === null ? "-" : formatDuration(Math.max(0, expiresMs - Date.now())),
        owner,
      ]);
      for (const line of table(["NAME", "PROVIDER", "STATE", "NODES", "TIME LEFT", "OWNER"], rows))
        terminal.out(line);
    }
  },
};
