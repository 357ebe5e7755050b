/**
 * How good a checkpoint is: the value of a metric, from where training programs leave it.
 *
 * In this order: its name (`val_loss=0.31`), a file of metrics in its folder or beside its file, the log in Hugging
 * Face's trainer_state.json, of its own step. `eval_METRIC` stands for METRIC where that is not there.
 */
import { HawserError } from "../../common/errors.ts";
import { MiB } from "../../common/units.ts";
import { newerFirst } from "../cleanup/group.ts";
import type { CheckpointPlace } from "./place.ts";
import type { Step } from "./step.ts";

export interface Metric {
  name: string;
  /** Whether a smaller value is better. */
  lower: boolean;
}

const LOWER =
  /loss|error|(?:^|[^a-z])err(?:[^a-z]|$)|perplexity|ppl|(?:^|[^a-z])(?:wer|cer|mse|mae|rmse|nll|bpb|bpc|fid)(?:[^a-z]|$)/i;
const FILES = /(?:^|\/)(?:metrics|eval_results|all_results|results|[^/]*\.metrics)\.json$/;
const LONGEST = 64 * MiB;

/** `val_loss`, `accuracy:max`, `score:min`. @throws HawserError `invalid_argument` */
export function parseMetric(text: string): Metric {
  const match = /^(.+?)(?::(min|max))?$/.exec(text);
  const name = match?.[1] ?? "";
  if (name === "" || /[\s=:]/.test(name)) {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is no metric; write its name, as val_loss or accuracy:max.`,
    );
  }
  return { name, lower: match?.[2] === undefined ? LOWER.test(name) : match[2] === "min" };
}

/** What a file's or folder's name says. */
export function metricOfName(name: string, metric: string): number | undefined {
  const escaped = metric.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const found = new RegExp(
    `(?:^|[-./\\s]|(?<=\\d)_)${escaped}=(-?\\d+(?:\\.\\d+)?(?:e[-+]?\\d+)?)`,
    "i",
  ).exec(name)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** What a file of metrics says: at its top, or one level below. */
export function metricOfTable(table: unknown, metric: string): number | undefined {
  if (typeof table !== "object" || table === null) return undefined;
  const entries = table as Record<string, unknown>;
  for (const name of [metric, `eval_${metric}`]) {
    if (typeof entries[name] === "number") return entries[name];
  }
  for (const inner of Object.values(entries)) {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) continue;
    for (const name of [metric, `eval_${metric}`]) {
      const value = (inner as Record<string, unknown>)[name];
      if (typeof value === "number") return value;
    }
  }
  return undefined;
}

/** What the log of a Trainer says of a step, the last time that it does. */
export function metricOfLog(state: unknown, metric: string, step: number | undefined): number | undefined {
  const log = (state as { log_history?: unknown } | null)?.log_history;
  const own = (state as { global_step?: unknown } | null)?.global_step ?? step;
  if (!Array.isArray(log)) return undefined;
  for (const entry of (log as unknown[]).toReversed()) {
    if ((entry as { step?: unknown } | null)?.step !== own) continue;
    const value = metricOfTable(entry, metric);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** The value of one checkpoint, or undefined when it says none. */
export async function metricOf(
  place: CheckpointPlace,
  step: Step,
  metric: string,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const named = metricOfName(step.name, metric);
  if (named !== undefined) return named;
  const tables = step.objects.filter(({ key }) => (step.isFolder ? FILES.test(key) : key.endsWith(".json")));
  for (const { key, sizeBytes } of tables) {
    const value = metricOfTable(await jsonOf(place, key, sizeBytes, signal), metric);
    if (value !== undefined) return value;
  }
  const state = step.objects.find(({ key }) => key === `${step.name}/trainer_state.json`);
  if (!state) return undefined;
  return metricOfLog(await jsonOf(place, state.key, state.sizeBytes, signal), metric, step.step);
}

/**
 * The best complete checkpoint of each run that says the metric; the older of two that are equal.
 *
 * @param placeOf where each of them is
 */
export async function bestSteps(
  placeOf: (step: Step) => CheckpointPlace,
  steps: readonly Step[],
  { name, lower }: Metric,
  signal?: AbortSignal,
): Promise<Step[]> {
  const best = new Map<string, { step: Step; value: number }>();
  for (const step of [...steps].sort(newerFirst)) {
    if (step.state !== "complete") continue;
    const value = await metricOf(placeOf(step), step, name, signal);
    if (value === undefined || Number.isNaN(value)) continue;
    const known = best.get(step.run);
    // Newest first, so that an equal older one takes the place.
    if (!known || (lower ? value <= known.value : value >= known.value)) best.set(step.run, { step, value });
  }
  return [...best.values()].map(({ step }) => step);
}

async function jsonOf(
  place: CheckpointPlace,
  path: string,
  sizeBytes: number,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  if (sizeBytes > LONGEST) return undefined;
  const content = await place.read(path, 0, sizeBytes, signal);
  // Python writes NaN and Infinity, which no JSON has.
  const text = Buffer.from(content ?? "")
    .toString("utf8")
    .replace(/(?<=[:[,]\s*)(?:NaN|-?Infinity)(?=\s*[,}\]])/g, "null");
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
