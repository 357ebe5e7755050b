/**
 * Which files a checkpoint needs, by the layouts of those who write them. Pure functions of its names.
 *
 * A *marker* is a file that its writer makes last: a reader that finds it may rely on the rest. So markers are what tells
 * a whole checkpoint from one that is being written, and what is copied last and removed first.
 */

/** Paths relative to the checkpoint's folder; of single files, their names. */
export type Names = readonly string[];

const SHARD = /^(.*[-_.])(\d+)-of-(\d+)((?:[-_.].*)?)$/;
const TEMPORARY =
  /(?:^|\/)[^/]*\.(?:tmp|temp|partial|part|incomplete|aria2|crdownload)(?:[.-]?\w{0,12})?$|(?:^|\/)\.[^/]*\.hawser-part$/i;
const ZERO_SHARD = /(?:^|\/)(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt$/;
const MARKER =
  /(?:^|\/)(?:\.metadata|latest|trainer_state\.json|[^/]*\.index\.json|latest_checkpointed_iteration\.txt)$/;

/** Made last by who writes the checkpoint. */
export function isMarker(name: string): boolean {
  return MARKER.test(name);
}

/** A file that is renamed once it is whole. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** What is missing, as far as names tell; undefined when nothing is. */
export function missingByNames(names: Names): string | undefined {
  const temporary = names.find(isTemporary);
  if (temporary !== undefined) return `${temporary} is a temporary file`;
  return missingShard(names) ?? missingMetadata(names) ?? missingRank(names) ?? missingState(names);
}

/** `model-00001-of-00003.safetensors`: all three. */
function missingShard(names: Names): string | undefined {
  const sets = new Map<string, { total: number; present: Set<number>; name: string }>();
  for (const name of names) {
    const match = SHARD.exec(name);
    if (!match) continue;
    const [, before = "", number = "", total = "", after = ""] = match;
    const id = `${before}*-of-${total}${after}`;
    const set = sets.get(id) ?? { total: Number(total), present: new Set<number>(), name: id };
    set.present.add(Number(number));
    sets.set(id, set);
  }
  for (const { total, present, name } of sets.values()) {
    // TensorFlow counts from 0.
    const wanted = present.has(0) ? 0 : 1;
    for (let at = 0; at < total; at++) {
      if (!present.has(wanted + at)) return `${name}: ${present.size} of ${total} are there`;
    }
  }
  return undefined;
}

/** torch.distributed.checkpoint (FSDP, and Lightning's shards): `.metadata` is written when every rank is done. */
function missingMetadata(names: Names): string | undefined {
  for (const folder of foldersWith(names, /\.distcp$/)) {
    if (!names.includes(`${folder}.metadata`)) return `${folder}.metadata is not there`;
  }
  return undefined;
}

/** DeepSpeed: the ranks of the optimizer's shards have no gaps, and there is a model. */
function missingRank(names: Names): string | undefined {
  for (const folder of foldersWith(names, ZERO_SHARD)) {
    const ranks = new Map<string, Set<number>>();
    for (const name of names) {
      const match = name.startsWith(folder) ? ZERO_SHARD.exec(name) : null;
      if (!match) continue;
      const set = ranks.get(match[2]!) ?? new Set<number>();
      ranks.set(match[2]!, set.add(Number(match[1])));
    }
    const world = Math.max(...[...ranks.values()].flatMap((set) => [...set])) + 1;
    for (const [model, set] of ranks) {
      if (set.size < world)
        return `${folder}zero_pp_rank_*_mp_rank_${model}: ${set.size} of ${world} are there`;
    }
    const models = names.some((name) => name.startsWith(folder) && name.endsWith("_model_states.pt"));
    if (!models) return `${folder}: no model states are there`;
  }
  return undefined;
}

/** Hugging Face's Trainer writes its arguments with the model, and its state behind the optimizer. */
function missingState(names: Names): string | undefined {
  if (!names.includes("training_args.bin") || names.includes("trainer_state.json")) return undefined;
  return "trainer_state.json is not there";
}

/** Folders, with their slash, that have such a file. */
function foldersWith(names: Names, pattern: RegExp): string[] {
  return [
    ...new Set(
      names.filter((name) => pattern.test(name)).map((name) => name.slice(0, name.lastIndexOf("/") + 1)),
    ),
  ];
}

/** Files named by `.metadata`, which is a pickle: the names are in it as text. @returns those that are not there */
export function missingOfMetadata(content: Uint8Array, folder: string, names: Names): string[] {
  const text = Buffer.from(content).toString("latin1");
  const wanted = new Set([...text.matchAll(/__\d+_\d+\.distcp/g)].map(([name]) => folder + name));
  return [...wanted].filter((name) => !names.includes(name));
}

/** Files named by an index of shards. @returns those that are not there @throws SyntaxError when it is no JSON */
export function missingOfIndex(content: Uint8Array, folder: string, names: Names): string[] {
  const index = JSON.parse(Buffer.from(content).toString("utf8")) as {
    weight_map?: Record<string, unknown>;
  } | null;
  const wanted = new Set(Object.values(index?.weight_map ?? {}).filter((name) => typeof name === "string"));
  return [...wanted].map((name) => folder + name).filter((name) => !names.includes(name));
}

/** The file beside, or within, that names the step which was written last. */
export function trackerOf(name: string): string | undefined {
  if (/^global_?step\d+$/i.test(name)) return "latest";
  if (/^iter_\d+$/i.test(name)) return "latest_checkpointed_iteration.txt";
  return undefined;
}

/** The folder of DeepSpeed within another checkpoint (Hugging Face's, Lightning's). */
export function innerStep(names: Names): string | undefined {
  for (const name of names) {
    const inner = /^(global_?step\d+)\//i.exec(name)?.[1];
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** The number that a tracker's text names: `global_step100`, `100`. */
export function trackedStep(text: string): number | undefined {
  const digits = /(\d{1,15})\s*$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
