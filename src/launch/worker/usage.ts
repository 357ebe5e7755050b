/** What a node's processors, memory, disk, network and GPUs do right now. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { cpus, freemem, totalmem } from "node:os";
import { promisify } from "node:util";
import type { Usage } from "./protocol.ts";
import { WORKER_ROOT } from "../bootstrap/probe.ts";

const run = promisify(execFile);

/** Busy and all ticks since the machine began. */
interface Ticks {
  busy: number;
  all: number;
}

/** Measures between two looks: the first one is about the time since the machine began. */
export class UsageMeter {
  private last: Ticks = { busy: 0, all: 0 };

  async look(): Promise<Usage> {
    const now = ticks();
    const all = now.all - this.last.all;
    const cpuPercent = all > 0 ? Math.round((100 * (now.busy - this.last.busy)) / all) : 0;
    this.last = now;
    const { bavail, blocks, bsize } = await statfs(WORKER_ROOT);
    return {
      cpuPercent,
      cpus: cpus().length,
      memoryUsedBytes: totalmem() - available(),
      memoryBytes: totalmem(),
      diskUsedBytes: (blocks - bavail) * bsize,
      diskBytes: blocks * bsize,
      ...network(),
      gpus: await gpus(),
    };
  }
}

function ticks(): Ticks {
  let busy = 0;
  let all = 0;
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.idle + times.irq;
    all += sum;
    busy += sum - times.idle;
  }
  return { busy, all };
}

function available(): number {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "latin1"));
  return match ? Number(match[1]) * 1024 : freemem();
}

function network(): { receivedBytes: number; sentBytes: number } {
  let receivedBytes = 0;
  let sentBytes = 0;
  for (const line of readFileSync("/proc/net/dev", "latin1").split("\n")) {
    const match = /^\s*([^:]+):\s*(.*)$/.exec(line);
    if (!match || match[1] === "lo") continue;
    const fields = match[2]!.split(/\s+/).map(Number);
    receivedBytes += fields[0] ?? 0;
    sentBytes += fields[8] ?? 0;
  }
  return { receivedBytes, sentBytes };
}

async function gpus(): Promise<Usage["gpus"]> {
  const query = "--query-gpu=name,utilization.gpu,memory.used,memory.total";
  const answer = await run("nvidia-smi", [query, "--format=csv,noheader,nounits"], { timeout: 5000 }).catch(
    () => undefined,
  );
  const lines = answer?.stdout.trim().split("\n") ?? [];
  return lines.flatMap((line) => {
    const [name, percent, used, total] = line.split(",").map((field) => field.trim());
    if (name === undefined || total === undefined) return [];
    return [
      {
        name,
        percent: Number(percent),
        memoryUsedBytes: Number(used) * 2 ** 20,
        memoryBytes: Number(total) * 2 ** 20,
      },
    ];
  });
}
