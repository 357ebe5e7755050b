/** Sweeping: after a restart, files without a record and records without a file go. Runs behind the mount. */
import { readdir, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { DiskEntry } from "./disk-entry.ts";
import type { DiskStore } from "./disk-store.ts";
import { errnoOf } from "./fd-io.ts";

export interface SweepResult {
  strayFiles: number;
  missingFiles: number;
}

/** @param newIds ids from here on belong to this session and are left alone */
export async function sweep(store: DiskStore, newIds: number, signal: AbortSignal): Promise<SweepResult> {
  const unseen = new Map<number, DiskEntry>();
  for (const entry of store.index.entries()) if (entry.fileId < newIds) unseen.set(entry.fileId, entry);
  const data = join(store.place.path, "data");
  const result = { strayFiles: 0, missingFiles: 0 };
  for (const folder of await namesIn(data)) {
    for (const name of await namesIn(join(data, folder))) {
      if (signal.aborted) return result;
      const id = Number(name);
      if (unseen.delete(id) || id >= newIds) continue;
      await unlink(join(data, folder, name)).catch(() => undefined);
      result.strayFiles++;
    }
    // Refused while it holds something.
    await rmdir(join(data, folder)).catch(() => undefined);
  }
  if (signal.aborted) return result;
  for (const entry of unseen.values()) {
    if (entry.removed) continue;
    store.remove(entry);
    result.missingFiles++;
  }
  return result;
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
