/** What the process of a mount asks of the system, as far as it is allowed to. */
import { writeFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { tryNative } from "../common/native.ts";
import type { Logger } from "../observe/logger.ts";

/** The kernel kills others first: readers of a mount whose process is killed lose their data. */
const OOM_SCORE = -900;

export function tuneProcess(title: string, log: Logger): void {
  process.title = title;
  // State, logs and caches are this user's alone.
  process.umask(0o077);
  if (process.getuid?.() === 0) {
    try {
      writeFileSync("/proc/self/oom_score_adj", String(OOM_SCORE));
    } catch (error) {
      log.debug({ err: error }, "oom_score_adj could not be set");
    }
  }
  try {
    const openFiles = tryNative()?.setRlimitNofile();
    if (openFiles !== undefined) log.debug({ openFiles }, "limit of open files raised");
  } catch (error) {
    log.warn({ err: error }, "the limit of open files could not be raised");
  }
}

/**
 * For a process that writes: much code, of which little runs often. Compiled simply and at once, and optimized later than
 * usual, a mount's first thousand small files take three quarters of the processor time. A process that only reads runs little code
 * often, and is better served by the defaults.
 */
export function tuneCompilerForWriting(): void {
  setFlagsFromString("--always-sparkplug");
  setFlagsFromString("--interrupt-budget=264000");
}
