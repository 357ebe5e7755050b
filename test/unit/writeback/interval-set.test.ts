import fc from "fast-check";
import { expect, test } from "vitest";
import { IntervalSet } from "../../../src/writeback/interval-set.ts";

const END = 40;
const range = fc
  .tuple(fc.integer({ min: 0, max: END }), fc.integer({ min: 0, max: END }))
  .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }));
const change = fc.record({ add: fc.boolean(), range });

/** The same as one flag a byte. */
function apply(changes: { add: boolean; range: { start: number; end: number } }[]): [IntervalSet, boolean[]] {
  const set = new IntervalSet();
  const flags = Array.from({ length: END }, () => false);
  for (const { add, range } of changes) {
    if (add) set.add(range.start, range.end);
    else set.remove(range.start, range.end);
    flags.fill(add, range.start, range.end);
  }
  return [set, flags];
}

test("holds what was added and not removed", () => {
  fc.assert(
    fc.property(fc.array(change), range, (changes, asked) => {
      const [set, flags] = apply(changes);
      const inside = flags.slice(asked.start, asked.end);
      expect(set.covers(asked.start, asked.end)).toBe(inside.every(Boolean));
      expect(set.touches(asked.start, asked.end)).toBe(inside.some(Boolean));
      expect(set.sizeBytes).toBe(flags.filter(Boolean).length);
      expect(set.isEmpty).toBe(!flags.some(Boolean));
      const within = Array.from({ length: END }, () => false);
      for (const { start, end } of set.within(asked.start, asked.end)) within.fill(true, start, end);
      expect(within).toEqual(flags.map((flag, at) => flag && at >= asked.start && at < asked.end));
    }),
  );
});

test("keeps its ranges sorted and apart", () => {
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const { ranges } = apply(changes)[0];
      for (const [at, { start, end }] of ranges.entries()) {
        expect(start).toBeLessThan(end);
        if (at > 0) expect(start).toBeGreaterThan(ranges[at - 1]!.end);
      }
    }),
  );
});
