import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkpointOf } from "../../../src/transfer/cleanup/checkpoint-name.ts";
import { CheckpointGroups, newerFirst, patternRecognizer } from "../../../src/transfer/cleanup/group.ts";
import type { Checkpoint } from "../../../src/transfer/cleanup/group.ts";
import { planCleanup } from "../../../src/transfer/cleanup/plan.ts";

describe("names of checkpoints", () => {
  test.each([
    ["ckpt_100.pt", "", "ckpt_100.pt", 100],
    ["runs/a/checkpoint-500.pth", "runs/a", "runs/a/checkpoint-500.pth", 500],
    ["model_epoch_10.pt", "", "model_epoch_10.pt", 10],
    ["runs/epoch=3-step=1000.ckpt", "runs", "runs/epoch=3-step=1000.ckpt", 1000],
    ["runs/epoch=3-step=1000-v1.ckpt", "runs", "runs/epoch=3-step=1000-v1.ckpt", 1000],
    ["r/checkpoint-500/model-00001-of-00002.safetensors", "r", "r/checkpoint-500", 500],
    ["r/checkpoint-500/global_step500/mp_rank_00_model_states.pt", "r", "r/checkpoint-500", 500],
    ["r/global_step1000/zero_pp_rank_0_optim_states.pt", "r", "r/global_step1000", 1000],
    ["r/step_200/__0_0.distcp", "r", "r/step_200", 200],
    ["r/iter_0001000/mp_rank_00/model_optim_rng.pt", "r", "r/iter_0001000", 1000],
    ["epoch_1/step_5/a.pt", "epoch_1", "epoch_1/step_5", 5],
  ])("%s", (path, run, unit, step) => {
    expect(checkpointOf(path)).toMatchObject({ run, unit, step });
  });
  test.each([
    "best.pt",
    "best_step_100.pt",
    "model-best-step=100.ckpt",
    "last.ckpt",
    "best/step_100/model.pt",
    "model.pt",
    "data/train_0001.tar",
    "steps/readme.md",
    "step_100.csv",
    "footsteps100.pt",
    "v2/model-00001-of-00002.safetensors",
  ])("%s is none", (path) => {
    expect(checkpointOf(path)).toBeUndefined();
  });
});

const object = (key: string, mtimeMs = 0, sizeBytes = 10) => ({ key, mtimeMs, sizeBytes, etag: "e" });
const grouped = (keys: string[], pattern?: string): Checkpoint[] => {
  const groups = new CheckpointGroups("p/", pattern === undefined ? undefined : patternRecognizer(pattern));
  for (const key of keys) groups.add(object(`p/${key}`));
  return groups.checkpoints();
};

describe("objects become checkpoints", () => {
  test("files of one step are one, a folder is one, and what has no weights is none", () => {
    const found = grouped([
      "step_1.pt",
      "step_1.json",
      "step_2.json",
      "step_3/a.bin",
      "step_3/config.json",
      "step_4/x.csv",
    ]);
    expect(found.map(({ name, objects, bytes }) => [name, objects.length, bytes])).toEqual([
      ["step_1.pt", 2, 20],
      ["step_3", 2, 20],
    ]);
  });
  test("a pattern says what counts, by name or by path", () => {
    expect(
      grouped(["r/snap-10/a", "r/snap-9/b", "r/other/c"], "snap-*").map(({ name, step }) => [name, step]),
    ).toEqual([
      ["r/snap-10", 10],
      ["r/snap-9", 9],
    ]);
    expect(grouped(["r/x.zip", "q/x.zip"], "r/*.zip").map(({ name }) => name)).toEqual(["r/x.zip"]);
  });
});

const HOUR = 3_600_000;
const NOW = 1000 * HOUR;
const checkpoint = (run: string, step: number, ageHours: number, bytes = 10): Checkpoint => ({
  run,
  name: `${run}/step_${step}.pt`,
  step,
  objects: [object(`${run}/step_${step}.pt`)],
  bytes,
  mtimeMs: NOW - ageHours * HOUR,
});

describe("what a cleanup removes", () => {
  const six = [1, 2, 3, 4, 5, 10].map((step) => checkpoint("a", step, 100 - step * 9));
  const gone = (rules: Parameters<typeof planCleanup>[1], of = six): (number | undefined)[] =>
    planCleanup(of, rules, NOW)
      .filter(({ verdict }) => verdict !== "keep")
      .map(({ checkpoint: { step } }) => step);

  test.each([
    [{}, []],
    [{ keepLastN: 2 }, [4, 3, 2, 1]],
    [{ keepLastN: 0 }, [5, 4, 3, 2, 1]],
    [{ keepLastN: 0, minKeep: 0 }, [10, 5, 4, 3, 2, 1]],
    [{ keepLastN: 2, minKeep: 4 }, [2, 1]],
    [{ keepLastN: 1, olderThanMs: 80 * HOUR }, [2, 1]],
    [{ olderThanMs: 60 * HOUR }, [4, 3, 2, 1]],
    [{ olderThanMs: 0 }, [5, 4, 3, 2, 1]],
    [{ maxTotalBytes: 35 }, [3, 2, 1]],
    [{ maxTotalBytes: 0 }, [5, 4, 3, 2, 1]],
    [{ keepLastN: 4, maxTotalBytes: 25 }, [4, 3, 2, 1]],
  ])("%j", (rules, expected) => {
    expect(gone(rules)).toEqual(expected);
  });
  test("runs do not compete by number, but do for size, the oldest first", () => {
    const two = [...six, checkpoint("b", 1, 1), checkpoint("b", 2, 95)];
    expect(planCleanup(two, { keepLastN: 6 }, NOW).every(({ verdict }) => verdict === "keep")).toBe(true);
    const over = planCleanup(two, { maxTotalBytes: 60 }, NOW).filter(
      ({ verdict }) => verdict === "over-size",
    );
    expect(over.map(({ checkpoint: { name } }) => name)).toEqual(["a/step_2.pt", "a/step_1.pt"]);
  });
  test("whatever the rules: the newest min-keep of each run stay, and the size is met or nothing else may go", () => {
    const any = fc.record({
      run: fc.constantFrom("a", "b"),
      step: fc.nat(50),
      age: fc.nat(200),
      bytes: fc.nat(100),
    });
    const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
    const rules = fc.record({
      keepLastN: maybe(fc.nat(5)),
      olderThanMs: maybe(fc.nat(200 * HOUR)),
      maxTotalBytes: maybe(fc.nat(500)),
      minKeep: maybe(fc.nat(4)),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(any, { selector: ({ run, step }) => `${run} ${step}` }),
        rules,
        (all, given) => {
          const checkpoints = all.map(({ run, step, age, bytes }) => checkpoint(run, step, age, bytes));
          const judged = planCleanup(checkpoints, given, NOW);
          expect(new Set(judged.map(({ checkpoint }) => checkpoint))).toEqual(new Set(checkpoints));
          const minKeep = given.minKeep ?? 1;
          const mayGo: Checkpoint[] = [];
          for (const name of ["a", "b"]) {
            const run = judged.filter(({ checkpoint: { run } }) => run === name);
            const sorted = [...run].sort((x, y) => newerFirst(x.checkpoint, y.checkpoint));
            expect(sorted.slice(0, minKeep).every(({ verdict }) => verdict === "keep")).toBe(true);
            mayGo.push(
              ...sorted
                .slice(minKeep)
                .flatMap(({ verdict, checkpoint }) => (verdict === "keep" ? [checkpoint] : [])),
            );
            // Within a run, nothing goes while something older stays, unless time says otherwise.
            if (given.olderThanMs === undefined && given.maxTotalBytes === undefined) {
              const firstGone = sorted.findIndex(({ verdict }) => verdict !== "keep");
              if (firstGone >= 0)
                expect(sorted.slice(firstGone).every(({ verdict }) => verdict !== "keep")).toBe(true);
            }
          }
          const total = judged.reduce(
            (sum, { checkpoint, verdict }) => sum + (verdict === "keep" ? checkpoint.bytes : 0),
            0,
          );
          if (given.maxTotalBytes !== undefined && total > given.maxTotalBytes) expect(mayGo).toEqual([]);
          if (given.olderThanMs !== undefined) {
            for (const { checkpoint, verdict } of judged) {
              if (verdict === "too-old" || verdict === "beyond-last-n")
                expect(NOW - checkpoint.mtimeMs).toBeGreaterThan(given.olderThanMs);
            }
          }
        },
      ),
    );
  });
});
