/** Showing what a pool does: lines for people on stderr, or JSON on stdout; the job's own output goes to stdout. */
import { formatBytes, formatDuration } from "../../../common/units.ts";
import type { PoolEvent, PoolEvents } from "../../../launch/events.ts";
import type { PoolReport } from "../../../launch/report.ts";
import type { SmallerType } from "../../../launch/right-size.ts";
import { table } from "../../table.ts";
import type { Terminal } from "../../terminal.ts";

const RANK_STYLES = ["cyan", "green", "yellow"] as const;

/** @param json one object a line, everything on stdout */
export function showEvents(terminal: Terminal, json: boolean): PoolEvents {
  if (json) return (event) => terminal.out(JSON.stringify(event));
  return (event) => showEvent(event, terminal);
}

function showEvent(event: PoolEvent, terminal: Terminal): void {
  const at = "node" in event && event.node !== undefined ? `node ${event.node}: ` : "";
  if (event.type === "log") {
    const style = RANK_STYLES[event.rank % RANK_STYLES.length]!;
    terminal.out(`${terminal.paint(style, `${event.rank}|`)} ${event.line}`);
  } else if (event.type === "report") for (const line of reportLines(event.report)) terminal.err(line);
  else if (event.type === "note") terminal.err(`hawser: ${at}${event.text}`);
  else if (event.type === "started") terminal.err(`hawser: started: ${event.job}`);
  else if (event.type === "waiting") {
    if (event.step === "job") return;
    const most = event.timeoutMs === undefined ? "" : ` of ${formatDuration(event.timeoutMs)}`;
    terminal.err(
      terminal.paintErr("dim", `hawser: ${at}${event.step} … ${formatDuration(event.elapsedMs)}${most}`),
    );
  } else if (event.type === "end") {
    const { step, ms, detail, error } = event;
    const took = terminal.paintErr("dim", `(${(ms / 1000).toFixed(1)} s)`);
    if (error) terminal.err(`hawser: ${at}${step} ${terminal.paintErr("red", "failed")} ${took}`);
    else terminal.err(`hawser: ${at}${step} ${detail ?? "done"} ${took}`);
  }
}

/** What the nodes were used for, what they cost, and what would have done. */
export function reportLines({ ms, nodes, cost, smaller }: PoolReport): string[] {
  const range = (average: number, peak: number): string => `${average}% (peak ${peak}%)`;
  const most = (used: number, of: number): string => `${formatBytes(used)} of ${formatBytes(of)}`;
  const rows = nodes.map(({ index, id, usage, cost }) => [
    String(index),
    id,
    ...(usage
      ? [
          `${range(usage.cpuPercent, usage.cpuPeakPercent)} of ${usage.cpus}`,
          most(usage.memoryPeakBytes, usage.memoryBytes),
          most(usage.diskPeakBytes, usage.diskBytes),
          `${formatBytes(usage.receivedBytes)} / ${formatBytes(usage.sentBytes)}`,
          usage.gpus
            .map(
              (gpu) =>
                `${range(gpu.percent, gpu.peakPercent)}, ${most(gpu.memoryPeakBytes, gpu.memoryBytes)}`,
            )
            .join("; ") || "-",
        ]
      : ["-", "-", "-", "-", "-"]),
    cost === undefined ? "-" : `$${cost.toFixed(2)}`,
  ]);
  const header = ["NODE", "HOST", "CPU", "MEMORY", "DISK", "RECEIVED / SENT", "GPU", "COST"];
  const spent = cost === undefined ? "" : `, about $${cost.toFixed(2)}`;
  return [
    `used in ${formatDuration(Math.max(1000, ms))}${spent}:`,
    ...table(header, rows),
    ...(smaller ? [smallerLine(smaller)] : []),
  ];
}

export function smallerLine({ instanceType, hourlyCost, insteadOf }: SmallerType): string {
  const less = Math.round(100 * (1 - hourlyCost / insteadOf));
  return `${instanceType} would have done, by what was used at the most: ${less}% less a node`;
}

/** A signal that Ctrl-C and SIGTERM fire. The second one ends the program. */
export function interruption(terminal: Terminal, what: string): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    terminal.err(`hawser: ${what}; press Ctrl-C again to leave at once`);
    controller.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    end: () => void process.off("SIGINT", onSignal).off("SIGTERM", onSignal),
  };
}
