import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GiB, MiB } from "../../../src/common/units.ts";
import {
  S3_PART_LIMITS,
  maxObjectBytes,
  partBytesFor,
  planParts,
  sentRanges,
} from "../../../src/writeback/part-plan.ts";

describe("part size", () => {
  test.each([
    [1, 16 * MiB],
    [100 * GiB, 16 * MiB],
    [10_000 * 16 * MiB, 16 * MiB],
  ])("an object of %d bytes is cut into parts of %d", (size, part) => {
    expect(partBytesFor(size)).toBe(part);
  });

  test("grows so that no object needs more than 10,000 parts", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: maxObjectBytes() }), (size) => {
        const part = partBytesFor(size);
        expect(Math.ceil(size / part)).toBeLessThanOrEqual(S3_PART_LIMITS.maxParts);
        expect(part).toBeLessThanOrEqual(S3_PART_LIMITS.maxPartBytes);
      }),
    );
  });

  test("is never below the store's smallest part", () => {
    expect(partBytesFor(10, 1)).toBe(5 * MiB);
  });
});

describe("part plan", () => {
  const ranges = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 900 }), fc.integer({ min: 1, max: 200 })), { maxLength: 6 })
    .map((list) => {
      const out: { start: number; end: number }[] = [];
      for (const [start, length] of list.toSorted((a, b) => a[0] - b[0])) {
        const last = out.at(-1);
        if (last && start <= last.end) last.end = Math.max(last.end, start + length);
        else out.push({ start, end: start + length });
      }
      return out;
    });

  test("covers the object without gaps, copies only unchanged bytes, and sends every changed one", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 100 }),
        ranges,
        (size, part, same) => {
          const plan = planParts(size, part, same);
          let at = 0;
          plan.forEach((piece, index) => {
            expect(piece.partNumber).toBe(index + 1);
            expect(piece.start).toBe(at);
            at = piece.end;
            if (index < plan.length - 1) expect(piece.end - piece.start).toBeGreaterThanOrEqual(part);
            const whole = same.some((range) => range.start <= piece.start && piece.end <= range.end);
            if (piece.source === "copy") expect(whole).toBe(true);
            else expect(whole).toBe(false);
          });
          expect(at).toBe(size);
        },
      ),
    );
  });

  test("keeps all parts equal where the store wants it", () => {
    const plan = planParts(95, 10, [{ start: 0, end: 70 }], { ...S3_PART_LIMITS, equalParts: true });
    expect(plan.slice(0, -1).every((part) => part.end - part.start === 10)).toBe(true);
  });

  test("a change of one byte sends one part", () => {
    const plan = planParts(100, 10, [
      { start: 0, end: 42 },
      { start: 43, end: 100 },
    ]);
    expect(sentRanges(plan)).toEqual([{ start: 40, end: 50 }]);
  });

  test("an appended tail sends from the last part boundary", () => {
    const plan = planParts(125, 10, [{ start: 0, end: 118 }]);
    expect(sentRanges(plan)).toEqual([{ start: 110, end: 125 }]);
  });
});
