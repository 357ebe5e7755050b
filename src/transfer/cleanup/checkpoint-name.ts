/**
 * Checkpoints by their names: which part of a path is one, which step it is of, and what it belongs to.
 *
 * A checkpoint is a numbered file (`epoch=3-step=1000.ckpt`, `ckpt_100.pt`) or a numbered folder (`checkpoint-500/`,
 * `global_step1000/`, `step_100/`) with weights in it. What is called best or last, or has no number, is none: nobody
 * can say how old it is meant to be.
 */

export interface CheckpointName {
  /** Path of the folder that the checkpoint is in, without its last slash; checkpoints of one run compete. */
  run: string;
  /** Path of the checkpoint's file or folder. Files of one run and step are one checkpoint. */
  unit: string;
  /** Larger is newer. Undefined where only time can tell. */
  step: number | undefined;
  isFolder: boolean;
}

/** Words in front of the number of a step; those further left say more about age. */
const STEP_WORDS = ["step", "iter", "iteration", "update", "checkpoint", "ckpt", "chkpt", "epoch", "ep"];
const NUMBERED = new RegExp(
  `(?:^|[^a-z])(?:global[-_]?)?(${STEP_WORDS.join("|")})s?[-_=.]?(\\d{1,15})(?!\\d)`,
  "gi",
);
const WEIGHTS =
  /\.(?:pt|pth|ckpt|bin|safetensors|tar|pkl|pickle|h5|hdf5|keras|npz|msgpack|distcp|index|onnx)$|\.data-\d+-of-\d+$|(?:^|\/)\.metadata$/i;
/** Beside a checkpoint's weights, and nothing without them. */
const COMPANION = /\.(?:json|ya?ml|txt|md5|sha256|meta)$/i;
const NEVER = /^(?:best|last|latest|final)(?:[^a-z]|$)|[-_.=](?:best|last|latest|final)(?:[-_.=]|$)/i;

/** The number of the step that a file's or folder's name carries. */
export function stepOf(name: string): number | undefined {
  if (NEVER.test(name)) return undefined;
  let found: { rank: number; step: number } | undefined;
  for (const [, word, digits] of name.matchAll(NUMBERED)) {
    const rank = STEP_WORDS.indexOf(word!.toLowerCase());
    if (!found || rank < found.rank) found = { rank, step: Number(digits) };
  }
  return found?.step;
}

/** A file that holds weights or a part of them. */
export function isWeights(path: string): boolean {
  return WEIGHTS.test(path);
}

/** The checkpoint that a path belongs to. @param path relative, with `/` between its names */
export function checkpointOf(path: string): CheckpointName | undefined {
  const names = path.split("/");
  const file = names.pop()!;
  let at = names.length - 1;
  while (at >= 0 && stepOf(names[at]!) === undefined) at--;
  // DeepSpeed's folder within one of Hugging Face is a part of it.
  if (at > 0 && /^global_?step/i.test(names[at]!) && /^checkpoint-\d+$/i.test(names[at - 1]!)) at--;
  const above = at >= 0 ? names.slice(0, at) : names;
  if (above.some((name) => NEVER.test(name))) return undefined;
  if (at >= 0) {
    const unit = names.slice(0, at + 1).join("/");
    return { run: above.join("/"), unit, step: stepOf(names[at]!), isFolder: true };
  }
  const step = WEIGHTS.test(file) || COMPANION.test(file) ? stepOf(file) : undefined;
  return step === undefined ? undefined : { run: names.join("/"), unit: path, step, isFolder: false };
}
