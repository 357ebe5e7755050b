import fc from "fast-check";
import { expect, test } from "vitest";
import { MOST_AHEAD, newPattern, observeRead, windowBytes } from "../../../src/cache/prefetch-window.ts";
import { GiB, KiB, MiB } from "../../../src/common/units.ts";

/** Follows a sequence of reads; every plan is carried out in full. @returns bytes fetched ahead that nobody asked for first */
function follow(reads: readonly [number, number][], objectBytes = GiB) {
  const pattern = newPattern();
  const plans: { from: number; to: number; stride: number }[] = [];
  for (const [offset, length] of reads) {
    const plan = observeRead(pattern, offset, length, objectBytes, MOST_AHEAD);
    if (!plan) continue;
    plans.push({ from: plan.from, to: plan.to, stride: plan.strideBytes });
    plan.fetched(plan.to);
  }
  return plans;
}

function sequence(count: number, length: number, start = 0, step = length): [number, number][] {
  return Array.from({ length: count }, (_, i) => [start + i * step, length]);
}

/** A small deterministic generator: the same reads in every run. */
function randomOffsets(count: number, most: number): number[] {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  });
}

test("the window starts with what was read, grows while reads are sequential, and is bounded", () => {
  expect(windowBytes(1, 128 * KiB, 128 * KiB, MOST_AHEAD)).toBe(128 * KiB);
  expect(windowBytes(2, MiB, 2 * MiB, MOST_AHEAD)).toBe(8 * MiB);
  expect(windowBytes(90, MiB, 90 * MiB, MOST_AHEAD)).toBe(MOST_AHEAD);
  const plans = follow(sequence(200, MiB));
  const ahead = plans.map(({ from, to }) => to - from);
  expect(ahead[0]).toBe(MiB);
  expect(ahead[1]).toBe(8 * MiB);
  expect(plans.at(-1)!.to).toBeGreaterThan(192 * MiB + MOST_AHEAD);
  // Each byte is fetched once.
  for (let i = 1; i < plans.length; i++) expect(plans[i]!.from).toBe(plans[i - 1]!.to);
});

test("large windows are fetched in large requests", () => {
  const plans = follow(sequence(300, MiB));
  expect(plans.filter(({ from }) => from > 128 * MiB).every(({ from, to }) => to - from === 8 * MiB)).toBe(
    true,
  );
});

test("a sequence with holes, or slightly out of order, is still a sequence", () => {
  const holes = sequence(50, 256 * KiB, 0, 256 * KiB).filter((_, i) => i < 4 || i % 3 !== 0);
  expect(follow(holes).at(-1)!.to).toBeGreaterThan(40 * MiB);
  const swapped = sequence(50, 128 * KiB).map((read, i, all) => (i < 4 ? read : all[i ^ 1]!));
  expect(follow(swapped).at(-1)!.to).toBeGreaterThan(20 * MiB);
});

test("interleaved streams each get their window", () => {
  const streams = [0, 200, 400, 600].map((at) => sequence(40, MiB, at * MiB));
  const plans = follow(streams[0]!.flatMap((_, i) => streams.map((stream) => stream[i]!)));
  for (const at of [0, 200, 400, 600]) {
    const farthest = Math.max(
      ...plans.filter(({ from }) => from >= at * MiB && from < (at + 199) * MiB).map(({ to }) => to),
    );
    expect(farthest).toBeGreaterThan((at + 100) * MiB);
  }
});

test("a stride is followed, its gaps are not", () => {
  const plans = follow(sequence(20, 64 * KiB, 5 * MiB, 10 * MiB));
  expect(plans.length).toBeGreaterThan(3);
  expect(plans.every(({ stride }) => stride === 10 * MiB)).toBe(true);
});

test.each([
  ["256 KiB reads", 256 * KiB],
  ["page faults of 1 MiB", MiB],
  ["page faults of 128 KiB", 128 * KiB],
])("random %s get next to nothing fetched ahead", (_name, length) => {
  const reads = randomOffsets(400, GiB - length).map((offset): [number, number] => [
    Math.floor(offset / 4096) * 4096,
    length,
  ]);
  const ahead = follow(reads).reduce((sum, { from, to }) => sum + (to - from), 0);
  expect(ahead / (400 * length)).toBeLessThan(0.05);
});

test("a plan never leaves the object or the budget", () => {
  const read = fc.tuple(fc.integer({ min: 0, max: 300 * MiB }), fc.integer({ min: 1, max: 2 * MiB }));
  fc.assert(
    fc.property(
      fc.array(read, { maxLength: 60 }),
      fc.integer({ min: 1, max: 300 * MiB }),
      (reads, objectBytes) => {
        const pattern = newPattern();
        for (const [offset, length] of reads) {
          const most = 16 * MiB;
          const plan = observeRead(
            pattern,
            offset,
            Math.min(length, Math.max(0, objectBytes - offset)),
            objectBytes,
            most,
          );
          if (!plan) continue;
          expect(plan.to).toBeLessThanOrEqual(objectBytes);
          expect(plan.from).toBeLessThan(plan.to);
          if (plan.strideBytes === 0) expect(plan.to - offset - length).toBeLessThanOrEqual(most + MiB);
          plan.fetched(plan.to);
        }
      },
    ),
    { numRuns: 200 },
  );
});
