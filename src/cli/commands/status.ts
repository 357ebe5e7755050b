/** `hawser status`: a table for people, JSON for programs, Prometheus text for scrapers. */
import { HawserError } from "../../common/errors.ts";
import { formatBytes, formatDuration } from "../../common/units.ts";
import type { Milliseconds } from "../../common/units.ts";
import { callDaemon } from "../../daemon/control-client.ts";
import { findMount, knownMounts, reportOn } from "../../daemon/mounts.ts";
import type { MountReport } from "../../daemon/mounts.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { table } from "../table.ts";
import { describeWaits } from "../waits-text.ts";
import { describeWarm } from "../warm-text.ts";
import { describeWriting } from "../writing-text.ts";
import type { Style, Terminal } from "../terminal.ts";

/** How long a warm job that has ended is still shown. */
const SHOWN_MS: Milliseconds = 60_000;

export const command: Command = {
  usage: ["[PATH...]"],
  description:
    "Shows the volumes that are mounted on this machine, or those named. The exit code is 1 when one of them is dead or does not answer.",
  options: {
    json: { type: "boolean", describe: "Everything, as JSON" },
    metrics: { type: "boolean", describe: "The metrics of every mount, as Prometheus text" },
  },
  examples: [
    ["status", "A table of what is mounted"],
    ["status /data --json", "All about one mount"],
  ],
  async run(args, terminal) {
    const mounts = knownMounts();
    const wanted = args.positionals.map((path) => {
      const mount = findMount(path, mounts);
      if (!mount)
        throw new HawserError("not_mounted", `No volume is mounted at ${path}; see 'hawser status'.`);
      return mount;
    });
    const reports = await Promise.all((wanted.length > 0 ? wanted : mounts).map(reportOn));
    if (args.flag("metrics")) await printMetrics(reports, terminal);
    else if (args.flag("json")) terminal.out(JSON.stringify(reports.map(asJson), null, 2));
    else printTable(reports, terminal);
    return reports.some(({ state }) => state === "dead" || state === "not answering")
      ? EXIT.failure
      : EXIT.ok;
  },
};

function asJson(report: MountReport): Record<string, unknown> {
  const { mountPoint, source, name, pid, settings } = report.mount;
  const base = { name, source, mountPoint, state: report.state, pid: pid ?? null };
  return "status" in report ? { ...base, ...report.status, settings: settings?.volume } : base;
}

const STYLES: Partial<Record<MountReport["state"], Style>> = {
  serving: "green",
  mounting: "yellow",
  unmounting: "yellow",
  "not answering": "red",
  dead: "red",
};

function printTable(reports: readonly MountReport[], terminal: Terminal): void {
  if (reports.length === 0) {
    terminal.out("Nothing is mounted.");
    return;
  }
  const rows = reports.map((report) => {
    const { mountPoint, source, name, pid, settings } = report.mount;
    const status = "status" in report ? report.status : undefined;
    const style = STYLES[report.state];
    return [
      name || "-",
      source,
      mountPoint,
      settings?.volume.mode ?? "-",
      style ? terminal.paint(style, report.state) : report.state,
      status?.channel ? status.channel.kind + (status.channel.passthrough ? "+passthrough" : "") : "-",
      pid === undefined ? "-" : String(pid),
      status ? formatDuration(Date.now() - status.startedMs) : "-",
      status ? formatBytes(status.memory.residentBytes) : "-",
    ];
  });
  const lines = table(
    ["NAME", "SOURCE", "MOUNTED AT", "MODE", "STATE", "CHANNEL", "PID", "UP", "MEMORY"],
    rows,
  );
  terminal.out(terminal.paint("bold", lines[0]!));
  for (const line of lines.slice(1)) terminal.out(line);
  for (const line of detailLines(reports, terminal)) terminal.out(line);
  const dead = reports.find(({ state }) => state === "dead");
  if (dead) terminal.err(`hawser: clear a dead mount with: hawser unmount ${dead.mount.mountPoint}`);
}

/** What goes on in the mounts, where something does. */
function detailLines(reports: readonly MountReport[], terminal: Terminal): string[] {
  const lines: string[] = [];
  for (const report of reports) {
    if (!("status" in report)) continue;
    const { mountPoint, waits, warm = [], writing } = report.status;
    if (writing) lines.push(...describeWriting(mountPoint, writing));
    const active = warm.filter(({ endedMs }) => endedMs === undefined || Date.now() - endedMs < SHOWN_MS);
    for (const job of active) lines.push(`${mountPoint}: ${describeWarm(job)}`);
    const waited = waits && describeWaits(waits);
    if (waited) lines.push(`${mountPoint}: ${waited}`);
  }
  return lines.length > 0 ? ["", ...lines.map((line) => terminal.paint("dim", line))] : [];
}

async function printMetrics(reports: readonly MountReport[], terminal: Terminal): Promise<void> {
  for (const report of reports) {
    if (!("status" in report) || !report.mount.folder) continue;
    const { text } = await callDaemon(report.mount.folder.socketPath, "metrics", {}, { timeoutMs: 3000 });
    terminal.out(text.trimEnd());
  }
}
