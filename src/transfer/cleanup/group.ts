/** Objects put together to the checkpoints that they are parts of. */
import { globMatcher } from "../../common/glob.ts";
import type { Bytes, EpochMs } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";
import { checkpointOf, isWeights } from "./checkpoint-name.ts";
import type { CheckpointName } from "./checkpoint-name.ts";

export interface Checkpoint {
  run: string;
  /** File or folder, relative to where was looked. */
  name: string;
  step: number | undefined;
  objects: ListedObject[];
  bytes: Bytes;
  /** The newest of its objects. */
  mtimeMs: EpochMs;
}

/** Says which checkpoint a path belongs to. */
export type Recognize = (path: string) => CheckpointName | undefined;

/**
 * What matches a glob counts as a checkpoint, file or folder. A pattern without a slash is compared with names.
 *
 * @throws HawserError `invalid_argument` for a pattern that is no glob
 */
export function patternRecognizer(pattern: string): Recognize {
  const trimmed = pattern.replace(/^\/+|\/+$/g, "");
  const matches = globMatcher(trimmed);
  const whole = trimmed.includes("/");
  return (path) => {
    const names = path.split("/");
    for (let at = 0; at < names.length; at++) {
      const unit = names.slice(0, at + 1).join("/");
      if (!matches(whole ? unit : names[at]!)) continue;
      const digits = names[at]!.match(/\d{1,15}/g)?.at(-1);
      return {
        run: names.slice(0, at).join("/"),
        unit,
        step: digits === undefined ? undefined : Number(digits),
        isFolder: at < names.length - 1,
      };
    }
    return undefined;
  };
}

/** Collects checkpoints from a listing. What is none is forgotten at once. */
export class CheckpointGroups {
  readonly #prefix: string;
  readonly #recognize: Recognize;
  readonly #byPattern: boolean;
  readonly #isSign: (key: string) => boolean;
  readonly #groups = new Map<string, { checkpoint: Checkpoint; weights: boolean }>();

  /**
   * @param prefix what is cut off keys
   * @param recognize by name when absent
   * @param isSign says what makes a folder a checkpoint besides weights
   */
  constructor(prefix: string, recognize?: Recognize, isSign: (key: string) => boolean = () => false) {
    this.#prefix = prefix;
    this.#recognize = recognize ?? checkpointOf;
    this.#byPattern = recognize !== undefined;
    this.#isSign = isSign;
  }

  add(object: ListedObject): void {
    const { key, sizeBytes, mtimeMs } = object;
    const found = this.#recognize(key.slice(this.#prefix.length));
    if (!found) return;
    const { run, unit, step, isFolder } = found;
    // Weights and what lies beside them under another ending are one checkpoint, when the name says the step.
    const id = isFolder || this.#byPattern ? `u ${unit}` : `s ${step} ${run}`;
    let group = this.#groups.get(id);
    if (!group) {
      group = { checkpoint: { run, name: unit, step, objects: [], bytes: 0, mtimeMs: 0 }, weights: false };
      this.#groups.set(id, group);
    }
    group.checkpoint.objects.push(object);
    group.checkpoint.bytes += sizeBytes;
    group.checkpoint.mtimeMs = Math.max(group.checkpoint.mtimeMs, mtimeMs);
    group.weights ||= this.#byPattern || isWeights(key) || this.#isSign(key);
  }

  /** The checkpoints found. */
  checkpoints(): Checkpoint[] {
    return [...this.#groups.values()].flatMap(({ checkpoint, weights }) => (weights ? [checkpoint] : []));
  }
}

/** By step where both have one, else by time; what has no number stands behind what has one. */
export function newerFirst(a: Checkpoint, b: Checkpoint): number {
  if ((a.step === undefined) !== (b.step === undefined)) return a.step === undefined ? 1 : -1;
  if (a.step !== undefined && b.step !== undefined && a.step !== b.step) return b.step - a.step;
  return b.mtimeMs - a.mtimeMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}
