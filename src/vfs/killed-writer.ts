/**
 * Killed writers: whether the process that closes a file is being killed.
 *
 * A FLUSH comes also when the kernel closes the files of a process that a signal ended. Its flags tell the two apart.
 */
import { readFileSync } from "node:fs";

/** The process was killed by a signal. From the kernel's linux/sched.h. */
const PF_SIGNALED = 0x400;
/** Index of `flags` among the fields behind the program's name in /proc/PID/stat. */
const FLAGS_FIELD = 6;

/** @param stat the text of /proc/PID/stat */
export function isSignaled(stat: string): boolean {
  // The program's name is in brackets, and may hold brackets and spaces itself.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[FLAGS_FIELD]) & PF_SIGNALED) !== 0;
}

/**
 * False also where the process cannot be looked at any more.
 *
 * To be asked in the turn in which its FLUSH came: it waits for the answer then, and is there. A moment later a SIGKILL
 * that is still pending may have ended its request, and it is gone. So this reads at once; no disk is behind /proc.
 */
export function isBeingKilled(pid: number): boolean {
  try {
    return isSignaled(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
