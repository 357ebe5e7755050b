/** What a sync in both directions does with one path. Pure. */
import type { EpochMs } from "../common/units.ts";

export type Decision = "same" | "upload" | "download" | "conflict" | "delete-file" | "delete-object";

export interface Sides {
  /** Absent where the side does not have it. `changed`: since the last sync. */
  file: { changed: boolean } | undefined;
  object: { changed: boolean } | undefined;
  /** Both sides had it after the last sync. */
  recorded: boolean;
  mayDelete: boolean;
}

/** At least one side has it. A conflict may still turn out to be the same content. */
export function decide({ file, object, recorded, mayDelete }: Sides): Decision {
  if (file && object) {
    if (!recorded) return "conflict";
    if (file.changed && object.changed) return "conflict";
    if (file.changed) return "upload";
    return object.changed ? "download" : "same";
  }
  if (file) return recorded && mayDelete && !file.changed ? "delete-file" : "upload";
  return recorded && mayDelete && !object!.changed ? "delete-object" : "download";
}

/** `data/model.pt` -> `data/model.conflict-bucket-20261122T061500Z.pt` */
export function conflictName(path: string, from: "local" | "bucket", mtimeMs: EpochMs): string {
  const time = new Date(mtimeMs).toISOString().replace(/[-:]|\.\d+/g, "");
  const slash = path.lastIndexOf("/") + 1;
  const dot = path.lastIndexOf(".");
  const end = dot > slash ? dot : path.length;
  return `${path.slice(0, end)}.conflict-${from}-${time}${path.slice(end)}`;
}
