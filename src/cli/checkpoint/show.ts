/** Checkpoints as lines, for people and as JSON. */
import { formatBytes, formatDuration } from "../../common/units.ts";
import type { CheckpointPlace } from "../../transfer/checkpoint/place.ts";
import type { Kept } from "../../transfer/checkpoint/keep.ts";
import type { Step } from "../../transfer/checkpoint/step.ts";
import type { Terminal } from "../terminal.ts";

export function ageOf(mtimeMs: number, now = Date.now()): string {
  return formatDuration(Math.max(1000, now - mtimeMs)).split(" ")[0]!;
}

/** Headings of runs, each once. */
export class Runs {
  readonly #terminal: Terminal;
  #run: string | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** @returns the step's name within its run */
  enter({ run, name }: Step): string {
    if (run !== this.#run) this.#terminal.out(this.#terminal.paint("bold", `${run || "."}/`));
    this.#run = run;
    return run === "" ? name : name.slice(run.length + 1);
  }
}

export function stepJson(place: CheckpointPlace, step: Step): Record<string, unknown> {
  const { run, name, objects, bytes, mtimeMs, state, why } = step;
  const modified = new Date(mtimeMs).toISOString();
  const path = place.show(name);
  return { path, run, name, step: step.step, state, why, files: objects.length, bytes, modified };
}

const REASONS: Record<Kept["verdict"], string> = {
  newest: "the newest complete one",
  last: "among the newest",
  every: "a step to keep",
  best: "the best",
  writing: "not complete, and may be being written",
  behind: "no rule keeps it",
  abandoned: "left incomplete",
  removing: "half removed",
};

/** What stays and what goes, with the reason of each. */
export function showKept(
  plan: readonly Kept[],
  place: CheckpointPlace,
  json: boolean,
  terminal: Terminal,
): void {
  const runs = new Runs(terminal);
  for (const { step, verdict, goes } of plan) {
    if (json) {
      terminal.out(JSON.stringify({ type: "checkpoint", goes, verdict, ...stepJson(place, step) }));
      continue;
    }
    const name = runs.enter(step);
    const word = goes ? terminal.paint("red", "remove") : terminal.paint("green", "keep  ");
    terminal.out(
      `  ${word}  ${name}  (${formatBytes(step.bytes)}, ${ageOf(step.mtimeMs)} old: ${REASONS[verdict]})`,
    );
  }
}
