import { expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { HawserError } from "../../../src/common/errors.ts";
import type { PoolEvent } from "../../../src/launch/events.ts";
import { Steps } from "../../../src/launch/steps.ts";

function harness() {
  const told: PoolEvent[] = [];
  const stop = new AbortController();
  return { told, stop, steps: new Steps((event) => told.push(event), systemClock, stop.signal) };
}

const never = (): Promise<never> => new Promise(() => {});

test("a step is told when it begins and ends, and timed", async () => {
  const { told, steps } = harness();
  const result = await steps.run(
    "mount",
    { node: 1, timeoutMs: 1000 },
    () => Promise.resolve(2),
    (n) => `${n} volumes`,
  );
  expect(result).toBe(2);
  expect(told).toEqual([
    { type: "begin", step: "mount", node: 1, timeoutMs: 1000 },
    { type: "end", step: "mount", node: 1, ms: expect.any(Number), detail: "2 volumes" },
  ]);
  expect(steps.timings).toEqual([
    { step: "mount", node: 1, startedMs: expect.any(Number), ms: expect.any(Number) },
  ]);
});

test("a step that takes too long fails with its timeout, and its signal ends what waits in it", async () => {
  const { told, steps } = harness();
  let signalled = false;
  const waiting = steps.run("ssh", { timeoutMs: 20 }, (signal) => {
    signal.addEventListener("abort", () => (signalled = true));
    return never();
  });
  await expect(waiting).rejects.toMatchObject({
    code: "step_timed_out",
    message: /'ssh' took longer than 20ms; allow more with pool\.timeouts\.ssh/,
  });
  expect(signalled).toBe(true);
  expect(told.at(-1)).toMatchObject({ type: "end", error: { code: "step_timed_out" } });
});

test("an interruption ends steps under way and those that come after", async () => {
  const { stop, steps } = harness();
  const waiting = steps.run("mount", {}, never);
  stop.abort(new HawserError("interrupted", "Ctrl-C."));
  await expect(waiting).rejects.toMatchObject({ code: "interrupted" });
  await expect(steps.run("job", {}, () => Promise.resolve(1))).rejects.toMatchObject({ code: "interrupted" });
});

test("many nodes may wait for one signal: Node does not warn of a leak", async () => {
  const { steps } = harness();
  const warnings: Error[] = [];
  const hear = (warning: Error): void => void warnings.push(warning);
  process.on("warning", hear);
  await Promise.all(
    Array.from({ length: 20 }, (_, node) =>
      steps.run("ssh", { node }, (signal) => {
        for (let i = 0; i < 20; i++) signal.addEventListener("abort", () => {});
        return new Promise((resolve) => setImmediate(resolve));
      }),
    ),
  );
  process.off("warning", hear);
  expect(warnings).toEqual([]);
});
