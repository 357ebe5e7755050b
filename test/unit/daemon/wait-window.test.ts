import { expect, test } from "vitest";
import { WAIT_BUCKETS_MS, countWait, newCounters } from "../../../src/cache/content-stats.ts";
import { describeWaits } from "../../../src/cli/waits-text.ts";
import { WaitWindow, quantile, waitMetrics } from "../../../src/daemon/wait-window.ts";
import { FakeClock } from "../vfs/support.ts";

test("recent waits are those of the last minute, totals those since the mount", () => {
  const clock = new FakeClock();
  const { waits } = newCounters();
  const window = new WaitWindow(() => waits, clock);
  for (let i = 0; i < 100; i++) countWait(waits.store, 15);
  countWait(waits.store, 900);
  clock.advance(30_000);
  const early = window.status().byReason.store;
  expect(early.recent).toMatchObject({ reads: 101, p50Ms: 20, p99Ms: 20, totalMs: 2400 });
  expect(early.recentShare).toBeCloseTo(0.08);
  clock.advance(60_000);
  for (let i = 0; i < 4; i++) countWait(waits.store, 3000);
  const late = window.status();
  expect(late.byReason.store.recent).toMatchObject({ reads: 4, totalMs: 12_000, p50Ms: 3000, p99Ms: 3000 });
  expect(late.byReason.store.total.reads).toBe(105);
  expect(late.byReason.disk.recent.reads).toBe(0);
  expect(late.windowMs).toBeLessThanOrEqual(60_000);
  window.close();
  expect(clock.timers).toBe(0);
});

test.each([
  [0.5, 20],
  [0.99, 50],
  [1, 7000],
])("quantile %f of known counts is %i", (share, expected) => {
  const counts = WAIT_BUCKETS_MS.map((bound) => ({ 20: 90, 50: 9 })[bound] ?? 0);
  expect(quantile([...counts, 1], share, 7000)).toBe(expected);
});

test("nothing has no quantile, and is not talked about", () => {
  expect(quantile([0, 0], 0.5, 0)).toBe(0);
  const { waits } = newCounters();
  const window = new WaitWindow(() => waits, new FakeClock());
  expect(describeWaits(window.status())).toBeUndefined();
  window.close();
});

test("a person is told how many waited, how long, and what part of the time", () => {
  const clock = new FakeClock();
  const { waits } = newCounters();
  const window = new WaitWindow(() => waits, clock);
  for (let i = 0; i < 2000; i++) countWait(waits.store, 18);
  clock.advance(9_000);
  expect(describeWaits(window.status())).toBe(
    "2,000 reads waited for S3 in the last 9s: half up to 18ms, 99% up to 18ms; together 400% of the time",
  );
  window.close();
});

test("Prometheus gets cumulative buckets, sum and count, by reason", () => {
  const { waits } = newCounters();
  countWait(waits.store, 15);
  countWait(waits.store, 60_000);
  const lines = waitMetrics(waits, { mount: '/a"b' }).split("\n");
  const of = (reason: string, le: string): string | undefined =>
    lines
      .find((line) => line.includes(`reason="${reason}"`) && line.includes(`le="${le}"`))
      ?.split(" ")
      .at(-1);
  expect([of("store", "0.01"), of("store", "0.02"), of("store", "10"), of("store", "+Inf")]).toEqual([
    "0",
    "1",
    "1",
    "2",
  ]);
  expect(lines).toContain(String.raw`hawser_read_wait_seconds_sum{mount="/a\"b",reason="store"} 60.015`);
  expect(lines).toContain(String.raw`hawser_read_wait_seconds_count{mount="/a\"b",reason="disk"} 0`);
  expect(lines.filter((line) => line.startsWith("# TYPE"))).toHaveLength(1);
});
