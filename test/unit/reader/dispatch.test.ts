/** Who is sent next, how many at once, and when a second time: the decisions, as tables and properties. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HedgePolicy } from "../../../src/store/reader/hedge.ts";
import {
  BUCKETS,
  BUCKET_BOUNDS_MS,
  DecayingHistogram,
  bucketOf,
} from "../../../src/store/reader/histogram.ts";
import { ConcurrencyLimit } from "../../../src/store/reader/limit.ts";
import type { Rank } from "../../../src/store/lean/rank.ts";
import { RankedQueue } from "../../../src/store/lean/ranked-queue.ts";
import { mayStart } from "../../../src/store/reader/may-start.ts";
import type { Queued } from "../../../src/store/lean/ranked-queue.ts";

describe("the queue", () => {
  interface Entry extends Queued {
    name: number;
  }
  const entry = (name: number, rank: Rank): Entry => ({
    name,
    rank,
    queued: false,
    previous: undefined,
    next: undefined,
  });

  test("behaves as three arrays would", () => {
    const ranks = fc.constantFrom<Rank>(0, 1, 2);
    const step = fc.oneof(
      fc.record({ op: fc.constant("push" as const), rank: ranks }),
      fc.record({ op: fc.constant("unshift" as const), rank: ranks }),
      fc.record({ op: fc.constant("remove" as const), at: fc.nat(30) }),
      fc.record({ op: fc.constant("promote" as const), at: fc.nat(30), rank: ranks }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new RankedQueue<Entry>();
        const model: [Entry[], Entry[], Entry[]] = [[], [], []];
        const entries: Entry[] = [];
        const drop = (it: Entry): boolean => {
          const list = model.find((some) => some.includes(it));
          list?.splice(list.indexOf(it), 1);
          return list !== undefined;
        };
        for (const one of steps) {
          if (one.op === "push" || one.op === "unshift") {
            const it = entry(entries.length, one.rank);
            entries.push(it);
            queue[one.op](it);
            model[one.rank][one.op](it);
            continue;
          }
          const it = entries[one.at];
          if (!it) continue;
          const had = drop(it);
          if (one.op === "remove") queue.remove(it);
          else {
            queue.promote(it, one.rank);
            if (had) model[one.rank].push(it);
          }
        }
        expect(queue.size).toBe(model.flat().length);
        for (const rank of [0, 1, 2] as const) {
          for (const expected of model[rank]) {
            expect(queue.first(rank)).toBe(expected);
            queue.remove(expected);
          }
          expect(queue.first(rank)).toBeUndefined();
        }
      }),
    );
  });

  test.each<[Rank, [number, number, number], number, boolean]>([
    [0, [7, 0, 0], 8, true],
    [0, [8, 0, 0], 8, false],
    [0, [0, 7, 0], 8, true],
    [1, [0, 6, 0], 8, true],
    [1, [0, 7, 0], 8, false],
    [1, [7, 0, 0], 8, false],
    [2, [0, 0, 3], 8, true],
    [2, [0, 0, 4], 8, false],
    [1, [0, 0, 0], 1, true],
    [1, [0, 1, 0], 1, false],
    [0, [0, 1, 0], 1, true],
    [0, [1, 1, 0], 1, false],
  ])("rank %i beside %j of %i: %s", (rank, running, limit, may) => {
    expect(mayStart(rank, running, limit)).toBe(may);
  });

  test.each<[Rank, [number, number, number], boolean]>([
    [1, [0, 7, 0], true],
    [1, [0, 8, 0], false],
    [2, [0, 0, 3], true],
    [2, [0, 0, 4], false],
  ])("rank %i beside %j of 8, none of them kept for demand: %s", (rank, running, may) => {
    expect(mayStart(rank, running, 8, false)).toBe(may);
  });
});

describe("the limit", () => {
  /** Epochs against a store that gives each connection so much, up to so much in all. */
  function run(
    limit: ConcurrencyLimit,
    epochs: number,
    perConnection: number,
    all: number,
    from = 0,
  ): number {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const bytes = Math.min(limit.value * perConnection, all) * 200;
      limit.epoch({ elapsedMs: 200, bytes, requests: 1, saturated: true }, from + (epoch + 1) * 200);
    }
    return limit.value;
  }
  const bounds = { initial: 16, min: 1, max: 128 };

  test("grows while more connections bring more", () => {
    expect(run(new ConcurrencyLimit(bounds), 20, 90_000, 1e9)).toBe(128);
  });

  test("stays where the link is full", () => {
    const reached = run(new ConcurrencyLimit(bounds), 40, 90_000, 90_000 * 20);
    expect(reached).toBeGreaterThanOrEqual(16);
    expect(reached).toBeLessThanOrEqual(40);
  });

  test("probes again later and finds what has become free", () => {
    const limit = new ConcurrencyLimit(bounds);
    run(limit, 40, 90_000, 90_000 * 16);
    expect(run(limit, 300, 90_000, 1e9, 8000)).toBeGreaterThan(64);
  });

  test("does not take one bad moment for the end of the road", () => {
    const limit = new ConcurrencyLimit(bounds);
    limit.epoch({ elapsedMs: 200, bytes: 16 * 90_000 * 200, requests: 1, saturated: true }, 200);
    // The doubled limit brought nothing, because the machine was busy with something else just then.
    limit.epoch({ elapsedMs: 200, bytes: 16 * 90_000 * 200, requests: 1, saturated: true }, 400);
    expect(limit.value).toBe(16);
    expect(run(limit, 10, 90_000, 1e9, 400)).toBe(128);
  });

  test("is halved by SlowDown, once for many at a time, and comes back", () => {
    const limit = new ConcurrencyLimit(bounds);
    for (let at = 0; at < 10; at++) limit.slowDown(1000 + at);
    expect(limit.value).toBe(8);
    limit.slowDown(2000);
    expect(limit.value).toBe(4);
    expect(run(limit, 5, 1000, 1e9, 2000)).toBe(4);
    expect(run(limit, 20, 1000, 1e9, 4000)).toBeGreaterThanOrEqual(16);
  });

  test("never falls below the least", () => {
    const limit = new ConcurrencyLimit(bounds);
    for (let at = 0; at < 10; at++) limit.slowDown(at * 1000);
    expect(limit.value).toBe(1);
  });

  test("learns nothing while there was not enough to do", () => {
    const limit = new ConcurrencyLimit(bounds);
    limit.epoch({ elapsedMs: 200, bytes: 1e9, requests: 100, saturated: false }, 200);
    expect(limit.value).toBe(16);
  });
});

describe("histograms", () => {
  test("every duration is in the bucket whose bound it does not exceed", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), (ms) => {
        const bucket = bucketOf(ms);
        expect(ms).toBeLessThanOrEqual(BUCKET_BOUNDS_MS[bucket]! * (1 + 1e-9));
        if (bucket > 0) expect(ms).toBeGreaterThan(BUCKET_BOUNDS_MS[bucket - 1]! * (1 - 1e-9));
      }),
    );
    expect(BUCKET_BOUNDS_MS).toHaveLength(BUCKETS);
  });

  test("a decaying one follows what changes", () => {
    const histogram = new DecayingHistogram();
    expect(histogram.quantile(0.5)).toBeUndefined();
    for (let at = 0; at < 1024; at++) histogram.record(10);
    expect(histogram.quantile(0.99)).toBeLessThan(12);
    for (let at = 0; at < 4096; at++) histogram.record(200);
    expect(histogram.quantile(0.5)).toBeGreaterThanOrEqual(200);
  });
});

describe("hedging", () => {
  test("waits for the p99, and has a budget", () => {
    const policy = new HedgePolicy(true);
    expect(policy.take(500)).toBe(false);
    for (let at = 0; at < 128; at++) policy.answered(80);
    expect(policy.delayMs).toBeGreaterThan(80);
    expect(policy.delayMs).toBeLessThan(150);
    expect([1, 2, 3, 4, 5].map(() => policy.take(200))).toEqual([true, true, true, true, false]);
    for (let at = 0; at < 20; at++) policy.completed();
    expect(policy.take(200)).toBe(true);
  });

  test("is never sooner than 50 ms, and never when it is off", () => {
    const policy = new HedgePolicy(true);
    for (let at = 0; at < 128; at++) policy.answered(1);
    expect(policy.take(49)).toBe(false);
    expect(policy.take(51)).toBe(true);
    expect(new HedgePolicy(false).take(60_000)).toBe(false);
  });
});
