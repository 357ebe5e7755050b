/** `hawser pool cleanup`. */
import { HawserError, toHawserError } from "../../../common/errors.ts";
import { parseDuration } from "../../../common/units.ts";
import type { Milliseconds } from "../../../common/units.ts";
import { findOrphans } from "../../../launch/orphans.ts";
import { PoolFolder, poolRoot } from "../../../launch/pool-folder.ts";
import { Pool } from "../../../launch/pool.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { usageError } from "../../parse.ts";
import type { Terminal } from "../../terminal.ts";
import { reportError } from "../../report.ts";
import { interruption, showEvents } from "./show.ts";

const DAY_MS = 24 * 3600_000;

export const command: Command = {
  usage: ["[--dry-run] [--days N] [--wait TIME]"],
  description:
    "Ends pools whose time is over and those that a killed launcher left half made, and removes what providers find of pools that nobody knows any more. Data that is not in the bucket is never given up.",
  options: {
    "dry-run": { type: "boolean", describe: "Show what would be done" },
    wait: {
      type: "string",
      value: "TIME",
      describe: "How long to wait for machines that bring their data home (10m)",
    },
    days: { type: "string", value: "N", describe: "Also what is older than that, whatever its state" },
  },
  maxPositionals: 0,
  examples: [["pool cleanup --dry-run", "What is left"]],
  async run(args, terminal) {
    const days = args.text("days");
    if (days !== undefined && !/^\d+$/.test(days))
      throw usageError("pool cleanup", `--days: '${days}' is not a number`);
    const waitMs = parseDuration(args.text("wait") ?? "10m");
    const oldestMs = days === undefined ? 0 : Date.now() - Number(days) * DAY_MS;
    const dryRun = args.flag("dry-run");
    const interrupted = interruption(terminal, "stopping; run 'hawser pool cleanup' again to go on");
    try {
      const left = await known(terminal, { oldestMs, dryRun, signal: interrupted.signal });
      return left + (await orphans(terminal, { dryRun, waitMs, signal: interrupted.signal })) > 0
        ? EXIT.pool
        : EXIT.ok;
    } finally {
      interrupted.end();
    }
  },
};

/** @returns how many pools could not be ended */
async function known(
  terminal: Terminal,
  { oldestMs, dryRun, signal }: { oldestMs: number; dryRun: boolean; signal: AbortSignal },
): Promise<number> {
  let failures = 0;
  for (const folder of PoolFolder.list(poolRoot(terminal.environment))) {
    if (folder.isDamaged()) {
      terminal.err(`hawser: the record of the pool '${folder.name}' is damaged; looking for what it has`);
      continue;
    }
    const record = folder.read();
    if (!record || folder.holder()) continue;
    const { name, phase, expiresMs, createdMs, endsWithRun } = record;
    const why =
      expiresMs !== undefined && expiresMs < Date.now()
        ? "its time is over"
        : phase !== "ready" && phase !== "stopped"
          ? `it was left while ${phase}`
          : endsWithRun
            ? "the run that it was made for is gone"
            : createdMs < oldestMs
              ? "it is old"
              : undefined;
    if (why === undefined) continue;
    terminal.err(`hawser: ${dryRun ? "would end" : "ending"} the pool '${name}': ${why}`);
    if (dryRun) continue;
    const pool = await Pool.find(name, "cleanup", {
      environment: terminal.environment,
      onEvent: showEvents(terminal, false),
      signal,
    });
    try {
      await pool.down();
    } catch (error) {
      failures++;
      reportError(error, terminal);
    } finally {
      pool.close();
    }
  }
  return failures;
}

async function orphans(
  terminal: Terminal,
  { dryRun, waitMs, signal }: { dryRun: boolean; waitMs: Milliseconds; signal: AbortSignal },
): Promise<number> {
  const { environment } = terminal;
  const found = await findOrphans(environment, { everyone: false, signal });
  let failures = 0;
  for (const { kind, error } of found.unasked) {
    // Whoever has no account there has nothing there.
    if (error.code === "credentials_missing") continue;
    failures++;
    terminal.err(`hawser: what is left of ${kind} could not be looked for`);
    reportError(error, terminal);
  }
  for (const { provider, pool } of found.orphans) {
    const what = `${pool.nodes.length} nodes, ${pool.leftovers.length} other things`;
    terminal.err(`hawser: ${dryRun ? "would remove" : "removing"} the pool '${pool.name}' (${what})`);
    if (dryRun) continue;
    try {
      const left = await provider.remove(pool, { environment, signal, waitMs });
      if (left.length > 0) {
        throw new HawserError(
          "teardown_incomplete",
          `Still there: ${left.map(({ kind, id, detail }) => `${kind} ${id}${detail === undefined ? "" : ` ${detail}`}`).join(", ")}.`,
        );
      }
      const folder = new PoolFolder(poolRoot(environment), pool.name);
      if (folder.isDamaged()) folder.remove();
    } catch (error) {
      failures++;
      reportError(toHawserError(error), terminal);
    }
  }
  return failures;
}
