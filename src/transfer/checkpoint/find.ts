/** The checkpoints of a place, with what is known of each. */
import { HawserError } from "../../common/errors.ts";
import { CheckpointGroups, newerFirst, patternRecognizer } from "../cleanup/group.ts";
import type { Checkpoint } from "../cleanup/group.ts";
import { nothingFound } from "../cleanup/cleanup.ts";
import { weightsFirst } from "./step.ts";
import { ABANDONED_MS, Inspector, SETTLE_MS } from "./inspect.ts";
import type { InspectOptions } from "./inspect.ts";
import type { NamedPlace } from "./place.ts";
import type { Step } from "./step.ts";
import { TOMBSTONE } from "./tombstone.ts";

export interface FindOptions extends Partial<InspectOptions> {
  /** What counts as a checkpoint, file or folder: a glob. By name when absent. */
  pattern?: string | undefined;
}

/**
 * By run, the newest first.
 *
 * @throws HawserError `not_found` when nothing is a checkpoint; `invalid_argument` for a pattern that is no glob
 */
export async function findSteps(at: NamedPlace, options: FindOptions = {}): Promise<Step[]> {
  const { place, only } = at;
  const steps = await findAnySteps(at, options);
  if (steps.length > 0) return steps;
  throw nothingFound(only === undefined ? place.label : place.show(only), options.pattern);
}

/** The same, and none is no failure. */
export async function findAnySteps({ place, only }: NamedPlace, options: FindOptions = {}): Promise<Step[]> {
  const {
    pattern,
    signal,
    now = Date.now(),
    settleMs = SETTLE_MS,
    abandonedMs = ABANDONED_MS,
    deep,
  } = options;
  const groups = new CheckpointGroups(
    "",
    pattern === undefined ? undefined : patternRecognizer(pattern),
    // What is left of one that was being removed.
    (path) => path.endsWith(`/${TOMBSTONE}`),
  );
  // With a file of weights, what lies beside it under another ending.
  const start = only?.replace(/\.[^.]*$/, "");
  try {
    for await (const page of place.list(start, signal)) for (const file of page) groups.add(file);
  } catch (error) {
    if (!HawserError.is(error, "not_found")) throw error;
  }
  const found = groups.checkpoints().filter(({ name, objects }) => {
    if (only === undefined) return true;
    return name === only || name.startsWith(`${only}/`) || objects.some(({ key }) => key === only);
  });
  const inspector = new Inspector(place, { now, settleMs, abandonedMs, deep, signal });
  const steps: Step[] = [];
  for (const checkpoint of inOrder(found)) {
    signal?.throwIfAborted();
    steps.push(await inspector.inspect({ ...named(checkpoint), isFolder: isFolder(checkpoint) }));
  }
  return steps;
}

function inOrder(found: Checkpoint[]): Checkpoint[] {
  return found.sort((a, b) => (a.run < b.run ? -1 : a.run > b.run ? 1 : newerFirst(a, b)));
}

/** A folder's files all lie in it; a file is its own first object, or lies beside what its step is named by. */
function isFolder({ name, objects }: Checkpoint): boolean {
  return objects.every(({ key }) => key.startsWith(`${name}/`));
}

/** Files of one step are called by the first of them: `step_1.pt`, and not `step_1.json`. */
function named(checkpoint: Checkpoint): Checkpoint {
  if (isFolder(checkpoint)) return checkpoint;
  const [first] = [...checkpoint.objects].sort(weightsFirst);
  return { ...checkpoint, name: first!.key };
}

/** The newest complete checkpoint; of several runs that of the run which has changed last. */
export function newestOf(steps: readonly Step[]): Step | undefined {
  let found: Step | undefined;
  const runs = new Set<string>();
  // By run, the newest first: the first complete one of each.
  for (const step of steps) {
    if (step.state !== "complete" || runs.has(step.run)) continue;
    runs.add(step.run);
    if (!found || step.mtimeMs > found.mtimeMs) found = step;
  }
  return found;
}
