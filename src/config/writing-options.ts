/** What only a writable volume takes: on a read-only one it is a mistake, not something to be passed over. */
import type { KeyPath } from "./explain.ts";
import type { VolumeConfig } from "./schema.ts";

/** Keys of a volume that say how it is written. */
export const WRITING_KEYS = [
  "staging",
  "earlyUpload",
  "fsync",
  "onClose",
  "publish",
  "objects",
  "checkpoints",
] as const;

export interface MisplacedOption {
  path: KeyPath;
  message: string;
}

/** One for each value given. */
export function misplacedWritingOptions(volume: VolumeConfig): MisplacedOption[] {
  if (volume.mode === "writable") return [];
  const message = "is for writable volumes, and this one is read-only; mount it writable or leave it away.";
  return WRITING_KEYS.flatMap((key) => {
    const value: unknown = volume[key];
    if (value === undefined) return [];
    if (typeof value !== "object" || value === null) return [{ path: [key], message }];
    const given = Object.entries(value).filter(([, part]) => part !== undefined);
    return given.map(([part]) => ({ path: [key, part], message }));
  });
}

/** The volume as a read-only one: what its file says of writing is not meant then. */
export function withoutWritingOptions<T extends VolumeConfig>(volume: T): T {
  const rest = { ...volume };
  for (const key of WRITING_KEYS) delete rest[key];
  return rest;
}
