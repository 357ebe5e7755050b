/**
 * Probing: looking at a path that may never answer, from a process that can be killed.
 *
 * A system call on a hung mount blocks its thread until the mount is aborted; a thread of ours would take the whole
 * process's exit with it. So a child asks, and is killed when it takes too long.
 */
import { spawn } from "node:child_process";
import type { Milliseconds } from "../common/units.ts";

export type ProbeResult =
  | { state: "answers" }
  /** The process behind the mount is gone (ENOTCONN). */
  | { state: "dead" }
  | { state: "hung" }
  /** Any other failure, in the words of stat(1). */
  | { state: "refused"; reason: string };

/** Asks for the attributes of `path`. */
export function probe(path: string, timeoutMs: Milliseconds): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const child = spawn("stat", ["--", path], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C" },
    });
    let stderr = "";
    const timer = setTimeout(() => {
      resolve({ state: "hung" });
      child.kill("SIGKILL");
      child.stderr.destroy();
      child.unref();
    }, timeoutMs);
    const settle = (result: ProbeResult): void => {
      clearTimeout(timer);
      resolve(result);
    };
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", (error) => settle({ state: "refused", reason: error.message }));
    child.on("close", (code) => {
      if (code === 0) settle({ state: "answers" });
      else if (stderr.includes("Transport endpoint is not connected")) settle({ state: "dead" });
      else settle({ state: "refused", reason: stderr.trim() });
    });
  });
}
