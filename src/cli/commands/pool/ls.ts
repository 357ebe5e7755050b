/** `hawser pool ls`. */
import { formatDuration } from "../../../common/units.ts";
import { PoolFolder, poolOwner, poolRoot } from "../../../launch/pool-folder.ts";
import { everyProvider } from "../../../launch/providers.ts";
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
    for (const provider of await everyProvider()) {
      const found = await provider.discover({
        owner: poolOwner(root),
        everyone: args.flag("everyone"),
        environment: terminal.environment,
        signal: new AbortController().signal,
      });
      for (const { name, nodes, expiresMs, owner } of found) {
        if (pools.some((pool) => pool.name === name)) continue;
        const base = { name, provider: provider.kind, phase: "orphaned", nodes: nodes.length };
        pools.push({ ...base, expiresMs: expiresMs ?? null, owner: owner.label, command: null });
      }
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
