import fc from "fast-check";
import { expect, test } from "vitest";
import { ExtentAllocator } from "../../../src/common/extent-allocator.ts";

test("runs never overlap, free neighbours join, and nothing is lost", () => {
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ give: fc.nat(), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.array(step, { maxLength: 200 }), (units, steps) => {
      const allocator = new ExtentAllocator(units);
      const taken = new Uint8Array(units);
      const runs: { start: number; count: number }[] = [];
      const longestFree = (): number =>
        Math.max(
          ...String.fromCharCode(...taken)
            .split("\u0001")
            .map((run) => run.length),
        );
      for (const each of steps) {
        if ("take" in each) {
          const start = allocator.take(each.take);
          expect(start >= 0).toBe(longestFree() >= each.take);
          if (start < 0) continue;
          for (let unit = start; unit < start + each.take; unit++) {
            expect(taken[unit]).toBe(0);
            taken[unit] = 1;
          }
          runs.push({ start, count: each.take });
        } else if (runs.length > 0) {
          const run = runs[each.give % runs.length]!;
          const keep = Math.min(run.count - 1, Math.floor(run.count * each.part));
          const given = run.count - keep;
          allocator.give(run.start + keep, given);
          taken.fill(0, run.start + keep, run.start + keep + given);
          run.count = keep;
          if (keep === 0) runs.splice(each.give % runs.length, 1);
        }
        expect(allocator.freeUnits).toBe(taken.filter((unit) => unit === 0).length);
        expect(allocator.longestSure()).toBeLessThanOrEqual(longestFree());
        expect(allocator.longestSure() * 2 >= longestFree()).toBe(true);
      }
    }),
    { numRuns: 200 },
  );
});

test("a slab that is wholly given back is one run again", () => {
  const allocator = new ExtentAllocator(1000);
  const starts = Array.from({ length: 100 }, () => allocator.take(10));
  expect(allocator.take(1)).toBe(-1);
  for (const start of starts.reverse()) allocator.give(start, 10);
  expect(allocator.longestSure()).toBe(1000);
});
