/** `hawser pool status`. */
import { formatBytes, formatDuration } from "../../../common/units.ts";
import { Pool } from "../../../launch/pool.ts";
import { reportOn } from "../../../launch/report.ts";
import type { WorkerStatus } from "../../../launch/worker/protocol.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { table } from "../../table.ts";
import { poolName } from "./options.ts";
import { smallerLine } from "./show.ts";

const ANSWER_MS = 30_000;

export const command: Command = {
  usage: ["[NAME] [--json]"],
  description:
    "Shows each node of a pool: its mounts, its job, what is still to be uploaded, what it is busy with, and the time left.",
  options: {
    config: { type: "string", alias: "c", value: "FILE", describe: "hawser.yaml that names the pool" },
    json: { type: "boolean", describe: "One JSON object" },
  },
  maxPositionals: 1,
  examples: [["pool status train", "How a pool does"]],
  async run(args, terminal) {
    const name = poolName("status", args, terminal.environment);
    const pool = await Pool.find(name, undefined, { environment: terminal.environment });
    try {
      const outcomes = await pool.status(AbortSignal.timeout(ANSWER_MS));
      const { record } = pool.context;
      const { phase, expiresMs, kept } = record;
      const { cost, smaller } = reportOn(record, outcomes, Date.now(), terminal.environment);
      const nodes = pool.nodes.map((node, i) => {
        const outcome = outcomes[i]!;
        return outcome.ok ? { ...node, status: outcome.value } : { ...node, error: outcome.error.message };
      });
      if (args.flag("json")) {
        terminal.out(
          JSON.stringify({
            name,
            phase,
            expiresMs: expiresMs ?? null,
            cost: cost ?? 0,
            kept,
            nodes,
            smaller: smaller ?? null,
          }),
        );
      } else {
        const left =
          expiresMs === undefined ? "" : `, ${formatDuration(Math.max(0, expiresMs - Date.now()))} left`;
        const spent = cost === undefined ? "" : `, about $${cost.toFixed(2)} so far`;
        terminal.out(terminal.paint("bold", `${name}: ${phase}${left}${spent}`));
        const rows = nodes.map((node) =>
          [
            "status" in node
              ? rowOf(node.index, node.id, node.status)
              : [String(node.index), node.id, node.error],
          ].flat(),
        );
        for (const line of table(
          ["NODE", "HOST", "JOB", "MOUNTS", "TO UPLOAD", "CPU", "MEMORY", "DISK", "RECEIVED / SENT", "GPU"],
          rows,
        ))
          terminal.out(line);
        if (smaller) terminal.out(smallerLine(smaller));
        for (const { index, reason } of kept) terminal.out(`node ${index} is kept: ${reason}`);
      }
      return outcomes.every(({ ok }) => ok) ? EXIT.ok : EXIT.pool;
    } finally {
      pool.close();
    }
  },
};

function rowOf(index: number, id: string, { jobs, mounts, usage, history }: WorkerStatus): string[] {
  const job = jobs.find(({ name }) => name === "job");
  const serving = mounts.filter(({ state }) => state === "serving").length;
  const pending = mounts.reduce((sum, { status }) => sum + (status?.writing?.pendingFiles ?? 0), 0);
  return [
    String(index),
    id,
    job === undefined ? "-" : job.code === undefined ? "running" : `ended ${job.code}`,
    `${serving}/${mounts.length}`,
    pending === 0 ? "-" : `${pending} files`,
    `${usage.cpuPercent}% of ${usage.cpus}`,
    `${formatBytes(usage.memoryUsedBytes)}/${formatBytes(usage.memoryBytes)}`,
    `${formatBytes(usage.diskUsedBytes)}/${formatBytes(usage.diskBytes)}`,
    history ? `${formatBytes(history.receivedBytes)} / ${formatBytes(history.sentBytes)}` : "-",
    usage.gpus.map(({ percent }) => `${percent}%`).join(" ") || "-",
  ];
}
