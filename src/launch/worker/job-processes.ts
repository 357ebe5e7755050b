/**
 * The processes of a job, wherever it has put them.
 *
 * A job leads a session, and most of what it starts stays in it; launchers such as torchrun start sessions of their own.
 * So a process belongs to a job when it is in its session or inherited the variable that names the run.
 */
import { readFileSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { ProcessIdentity } from "../../daemon/process-table.ts";

/** In the environment of everything that a job starts. */
export const RUN_VARIABLE = "HAWSER_RUN";

/** Living processes of a run; zombies are dead. */
export async function processesOfJob(leader: ProcessIdentity, run: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const process = inSession(name);
    if (!process) continue;
    // A session's number is not given to another process while the session has members; a leader of that number with
    // another start is a stranger's, and its members are not ours.
    const own = process.session === leader.pid && process.startTicks >= leader.startTicks;
    if ((own && !isStranger(leader)) || (await inherited(name, run))) found.push(Number(name));
  }
  return found;
}

function inSession(pid: string): { session: number; startTicks: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    return { session: Number(fields[3]), startTicks: Number(fields[19]) };
  } catch {
    return undefined;
  }
}

function isStranger({ pid, startTicks }: ProcessIdentity): boolean {
  const present = inSession(String(pid));
  return present !== undefined && present.startTicks !== startTicks;
}

/** Not read synchronously: the kernel may wait for a process that is in the middle of a page fault. */
async function inherited(pid: string, run: string): Promise<boolean> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, "latin1");
    return environment.split("\0").includes(`${RUN_VARIABLE}=${run}`);
  } catch {
    return false;
  }
}
