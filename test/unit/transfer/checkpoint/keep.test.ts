/** What stays and what goes, and how good a checkpoint is: pure decisions. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planKeep } from "../../../../src/transfer/checkpoint/keep.ts";
import type { KeepRules } from "../../../../src/transfer/checkpoint/keep.ts";
import {
  metricOfLog,
  metricOfName,
  metricOfTable,
  parseMetric,
} from "../../../../src/transfer/checkpoint/metric.ts";
import type { Step, StepState } from "../../../../src/transfer/checkpoint/step.ts";

const step = (number: number, state: StepState = "complete", run = ""): Step => ({
  run,
  name: `${run}step_${number}`,
  step: number,
  objects: [],
  bytes: 1,
  mtimeMs: number,
  isFolder: true,
  state,
});

const goes = (steps: Step[], rules: KeepRules, best?: Set<Step>): number[] =>
  planKeep(steps, rules, best).flatMap(({ step, goes }) => (goes ? [step.step!] : []));

describe("what goes", () => {
  const steps = [1, 2, 3, 4, 10, 20].map((number) => step(number));
  test.each<[KeepRules, number[]]>([
    [{ keepLast: 2 }, [4, 3, 2, 1]],
    [{ keepLast: 1, keepEvery: 2 }, [3, 1]],
    [{ keepEvery: 10 }, [4, 3, 2, 1]],
    [{ keepEvery: 7 }, [10, 4, 3, 2, 1]],
    [{ keepLast: 100 }, []],
    [{}, [10, 4, 3, 2, 1]],
  ])("%j", (rules, expected) => {
    expect(goes(steps, rules)).toEqual(expected);
  });

  test("the best stays", () => {
    expect(goes(steps, { keepLast: 1 }, new Set([steps[2]!]))).toEqual([10, 4, 2, 1]);
  });

  test("what may be being written stays and takes no place among the newest", () => {
    const some = [step(1), step(2), step(3, "writing"), step(4), step(5, "writing"), step(6, "abandoned")];
    expect(goes(some, { keepLast: 1 })).toEqual([2, 1]);
    expect(goes([step(1, "abandoned"), step(2, "removing"), step(3)], { keepLast: 1 })).toEqual([2, 1]);
  });

  test("runs do not compete", () => {
    expect(goes([step(1, "complete", "a/"), step(9, "complete", "b/")], { keepLast: 1 })).toEqual([]);
  });

  test("whatever the rules, the newest complete one of each run and all that is being written stays", () => {
    const state = fc.constantFrom<StepState>("complete", "writing", "abandoned", "removing");
    const one = fc.record({ number: fc.nat(50), state, run: fc.constantFrom("a/", "b/") });
    const rule = fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined });
    fc.assert(
      fc.property(
        fc.uniqueArray(one, { selector: ({ run, number }) => `${run}${number}` }),
        rule,
        rule,
        (made, keepLast, keepEvery) => {
          const steps = made.map(({ number, state, run }) => step(number, state, run));
          const plan = planKeep(steps, { keepLast, keepEvery });
          expect(plan).toHaveLength(steps.length);
          for (const { step, goes } of plan) if (step.state === "writing") expect(goes).toBe(false);
          for (const run of ["a/", "b/"]) {
            const complete = plan.filter(({ step }) => step.run === run && step.state === "complete");
            const newest = Math.max(...complete.map(({ step }) => step.step!));
            for (const { step, goes } of complete) if (step.step === newest) expect(goes).toBe(false);
          }
        },
      ),
    );
  });
});

describe("metrics", () => {
  test.each([
    ["val_loss", true],
    ["eval/perplexity", true],
    ["wer", true],
    ["accuracy", false],
    ["answer", false],
    ["score:min", true],
    ["val_loss:max", false],
  ])("%s: lower is better: %s", (text, lower) => {
    expect(parseMetric(text).lower).toBe(lower);
  });

  test.each(["", ":min", "a b", "a=b", "a:b"])("'%s' is no metric", (text) => {
    expect(() => parseMetric(text)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  });

  test.each([
    ["epoch=3-val_loss=0.31.ckpt", "val_loss", 0.31],
    ["epoch=3-val_loss=0.31-v1.ckpt", "val_loss", 0.31],
    ["epoch=3-val_loss=-1e-05.ckpt", "val_loss", -1e-5],
    ["epoch=3-val_loss=0.31.ckpt", "loss", undefined],
    ["run/step=7-acc=1/model.pt", "acc", 1],
    ["step_7.pt", "step", undefined],
  ])("%s says %s is %s", (name, metric, expected) => {
    expect(metricOfName(name, metric)).toBe(expected);
  });

  test("tables and logs", () => {
    expect(metricOfTable({ eval_loss: 1 }, "loss")).toBe(1);
    expect(metricOfTable({ metrics: { loss: 2 } }, "loss")).toBe(2);
    expect(metricOfTable({ loss: "2" }, "loss")).toBeUndefined();
    expect(metricOfTable(null, "loss")).toBeUndefined();
    const log = {
      global_step: 20,
      log_history: [
        { step: 10, eval_loss: 5 },
        { step: 20, loss: 4 },
        { step: 20, eval_loss: 3 },
      ],
    };
    expect(metricOfLog(log, "eval_loss", undefined)).toBe(3);
    expect(metricOfLog(log, "accuracy", undefined)).toBeUndefined();
    expect(metricOfLog({ log_history: "x" }, "loss", 1)).toBeUndefined();
  });
});
