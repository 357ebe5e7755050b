/** Facts about other processes from /proc, none of which can block. */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";

/** A process, told apart from a later one that got the same number. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks after boot at which it started. */
  startTicks: number;
}

export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The command name is in parentheses and may hold anything, so fields are counted from the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    return { pid, startTicks: Number(fields[19]) };
  } catch {
    return undefined;
  }
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks;
}

/** A process that keeps a mount busy. */
export interface PathUser {
  pid: number;
  command: string;
}

/**
 * Processes with a file, working folder or program below `path`. Only link names are read, which never reach the
 * file system behind them. Other users' processes are invisible to everyone but root.
 *
 * @param among numbers of the processes looked at; all when absent
 */
export function usersOf(path: string, among: readonly string[] = readdirSync("/proc")): PathUser[] {
  const inside = (target: string): boolean => target === path || target.startsWith(`${path}/`);
  const users: PathUser[] = [];
  for (const name of among) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    if (linksOf(`/proc/${name}`).some(inside)) users.push({ pid: Number(name), command: commandOf(name) });
  }
  return users;
}

function linksOf(folder: string): string[] {
  const links = ["cwd", "root", "exe"].map((link) => `${folder}/${link}`);
  for (const sub of ["fd", "map_files"]) {
    try {
      links.push(...readdirSync(`${folder}/${sub}`).map((name) => `${folder}/${sub}/${name}`));
    } catch {
      // Gone meanwhile, or another user's.
    }
  }
  return links.flatMap((link) => {
    try {
      return [readlinkSync(link)];
    } catch {
      return [];
    }
  });
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "?";
  }
}
