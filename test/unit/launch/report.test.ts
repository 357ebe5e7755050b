/** What a pool has used and cost, from what its nodes tell. */
import { describe, expect, test } from "vitest";
import { GiB } from "../../../src/common/units.ts";
import { reportLines } from "../../../src/cli/commands/pool/show.ts";
import { INSTANCE_TYPES } from "../../../src/launch/ec2/instance-types.ts";
import type { PoolNode } from "../../../src/launch/node.ts";
import { reportOn } from "../../../src/launch/report.ts";
import { smallerType } from "../../../src/launch/right-size.ts";
import type { Usage, UsageSummary, WorkerStatus } from "../../../src/launch/worker/protocol.ts";
import { addLook, summarize } from "../../../src/launch/worker/usage-history.ts";
import type { UsageSums } from "../../../src/launch/worker/usage-history.ts";

const usage: Usage = {
  cpuPercent: 0,
  cpus: 4,
  memoryUsedBytes: 2 * GiB,
  memoryBytes: 16 * GiB,
  diskUsedBytes: GiB,
  diskBytes: 100 * GiB,
  receivedBytes: 5000,
  sentBytes: 100,
  gpus: [],
};

function history(...looks: [atMs: number, Partial<Usage>][]): UsageSums {
  let sums: UsageSums | undefined;
  for (const [atMs, changes] of looks) sums = addLook(sums, { ...usage, ...changes }, atMs);
  return sums!;
}

describe("a node's use", () => {
  test("is averaged over time, with its peaks", () => {
    const gpu = (percent: number, used: number) => ({
      gpus: [{ name: "T4", percent, memoryUsedBytes: used * GiB, memoryBytes: 16 * GiB }],
    });
    const told = summarize(
      history(
        [0, { cpuPercent: 99, ...gpu(0, 0) }],
        [10_000, { cpuPercent: 10, memoryUsedBytes: 9 * GiB, ...gpu(100, 3) }],
        [
          40_000,
          { cpuPercent: 50, memoryUsedBytes: GiB, ...gpu(20, 1), receivedBytes: 9000, sentBytes: 150 },
        ],
      ),
    );
    expect(told).toMatchObject({ ms: 40_000, cpuPercent: 40, cpuPeakPercent: 50, memoryPeakBytes: 9 * GiB });
    expect(told).toMatchObject({ receivedBytes: 4000, sentBytes: 50 });
    expect(told.gpus).toEqual([
      { name: "T4", percent: 40, peakPercent: 100, memoryPeakBytes: 3 * GiB, memoryBytes: 16 * GiB },
    ]);
  });

  test("is not made up for a time in which the machine was off, whose counters begin anew", () => {
    const told = summarize(
      history([0, {}], [10_000, { cpuPercent: 20 }], [3600_000, { cpuPercent: 60, receivedBytes: 300 }]),
    );
    expect(told).toMatchObject({ ms: 10_000, cpuPercent: 20, cpuPeakPercent: 60, receivedBytes: 300 });
  });

  test("of one look alone has no average", () => {
    expect(summarize(history([5, { cpuPercent: 70 }]))).toMatchObject({
      ms: 0,
      cpuPercent: 0,
      cpuPeakPercent: 0,
    });
  });
});

const used = (changes: Partial<UsageSummary>): UsageSummary => ({
  ...summarize(history([0, {}])),
  ms: 3600_000,
  ...changes,
});
const gpuUse = (peakPercent: number, name = "A10G") => ({
  name,
  percent: peakPercent,
  peakPercent,
  memoryPeakBytes: 0,
  memoryBytes: 24 * GiB,
});

describe("a smaller type that would have done", () => {
  const smaller = (name: string, ...usages: Partial<UsageSummary>[]): string | undefined =>
    smallerType(INSTANCE_TYPES.get(name)!, usages.map(used), INSTANCE_TYPES.values())?.instanceType;

  test.each([
    [
      "half of the processors and memory",
      "m5.xlarge",
      { cpuPercent: 30, cpuPeakPercent: 35, memoryPeakBytes: 5 * GiB },
      "m6a.large",
    ],
    ["all of the processors", "m5.xlarge", { cpuPeakPercent: 95, memoryPeakBytes: GiB }, undefined],
    ["all of the memory", "m5.xlarge", { cpuPeakPercent: 5, memoryPeakBytes: 15 * GiB }, undefined],
    ["one GPU of four", "g5.12xlarge", { gpus: [gpuUse(90), gpuUse(0), gpuUse(1), gpuUse(0)] }, "g5.xlarge"],
    ["every GPU", "g5.12xlarge", { gpus: [90, 80, 70, 60].map((peak) => gpuUse(peak)) }, undefined],
    ["no GPU at all", "g5.xlarge", { gpus: [gpuUse(0)], memoryPeakBytes: 3 * GiB }, "t3.medium"],
    ["the machine for a minute", "m5.xlarge", { ms: 60_000 }, undefined],
  ])("for a node that used %s", (_what, type, changes, expected) => {
    expect(smaller(type, changes)).toBe(expected);
  });

  test("is judged by the busiest node", () => {
    expect(smaller("m5.xlarge", { cpuPeakPercent: 5 }, { cpuPeakPercent: 95 })).toBeUndefined();
  });

  test("is not told of a type whose price is not known", () => {
    const unknown = { ...INSTANCE_TYPES.get("m5.xlarge")!, hourlyCost: undefined };
    expect(smallerType(unknown, [used({})], INSTANCE_TYPES.values())).toBeUndefined();
  });
});

describe("the report of a pool", () => {
  const facts = { instanceType: "m5.xlarge", hourlyCost: 0.2, startedMs: 3600_000 };
  const nodes: PoolNode[] = [0, 1].map((index) => ({ index, id: `i-${index}`, address: "10.0.0.1", facts }));
  const status = { ok: true, value: { history: used({ cpuPeakPercent: 10 }) } as WorkerStatus } as const;
  const environment = { HAWSER_PRESETS: "/dev/null" };

  test("adds up what the machines cost from their start, and says what would have done", () => {
    const report = reportOn({ nodes, createdMs: 0 }, [status, status], 2.5 * 3600_000, environment);
    expect(report.cost).toBeCloseTo(0.6);
    expect(report.smaller).toMatchObject({ instanceType: "t3.medium", insteadOf: 0.192 });
    const lines = reportLines(report);
    expect(lines[0]).toBe("used in 2h 30m, about $0.60:");
    expect(lines[2]).toMatch(
      /^0 +i-0 +0% \(peak 10%\) of 4 +2\.0 GiB of 16\.0 GiB +1\.0 GiB of 100 GiB .* \$0\.30$/,
    );
    expect(lines.at(-1)).toBe("t3.medium would have done, by what was used at the most: 78% less a node");
  });

  test("says nothing of what it does not know: a node that did not answer, hosts without a price", () => {
    const failed = { ok: false, error: new Error("gone") as never } as const;
    const report = reportOn({ nodes, createdMs: 0 }, [status, failed], 3600_000, environment);
    expect(report.smaller).toBeUndefined();
    expect(reportLines(report)[3]).toMatch(/^1 +i-1 +- +-/);
    const hosts = nodes.map(({ facts: _facts, ...node }) => node);
    expect(
      reportOn({ nodes: hosts, createdMs: 0 }, [status, status], 1000, environment).cost,
    ).toBeUndefined();
  });
});
