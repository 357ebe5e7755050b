/** Who is logged in to a node. */
import { readFileSync, readdirSync } from "node:fs";

/** What sshd calls the process that serves one login: with a terminal, or `@notty`. Newer ones are sshd-session. */
const SERVES = /^sshd(?:-session)?: \S+@(?:notty|pts\/\d+|tty\w+)/;
/** A shell on the machine's own console. */
const CONSOLE = /^(?:\/bin\/)?login\b.* -- /;

/**
 * Whether anybody has a connection over SSH or sits at the console. Not by utmp, which containers lack and editors that
 * log in without a terminal are not in.
 */
export function hasLogin(): boolean {
  return readdirSync("/proc").some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const title = readFileSync(`/proc/${name}/cmdline`, "latin1").replaceAll("\0", " ");
      return SERVES.test(title) || CONSOLE.test(title);
    } catch {
      return false;
    }
  });
}
