import { describe, expect, it } from "vitest";
import { isKillPending } from "../../../src/fuse/interrupt-watch.ts";

const status = (thread: string, shared: string): string =>
  `Name:\tcat\nThreads:\t1\nSigPnd:\t${thread}\nShdPnd:\t${shared}\nSigBlk:\t0000000000000100\n`;

describe("isKillPending", () => {
  it.each([
    ["nothing pending", "0000000000000000", "0000000000000000", false],
    ["SIGALRM", "0000000000002000", "0000000000000000", false],
    ["SIGKILL to the thread", "0000000000000100", "0000000000000000", true],
    ["SIGKILL to the process", "0000000000000000", "0000000000000100", true],
    ["SIGKILL after SIGALRM and a real-time signal", "8000000000002100", "0000000000000000", true],
  ])("%s", (_name, thread, shared, expected) => {
    expect(isKillPending(status(thread, shared))).toBe(expected);
  });
});
