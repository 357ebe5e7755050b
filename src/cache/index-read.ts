/** Reads a place's index with the names in it, beside whoever writes it. */
import { join } from "node:path";
import { replayLog } from "../common/record-log.ts";
import type { DiskEntry } from "./disk-entry.ts";
import { INDEX_FORMAT, decodeRecord } from "./index-record.ts";
import { IndexReplay } from "./index-replay.ts";

export interface NamedEntry {
  /** As of the log; not the object that a running mount works with. */
  entry: DiskEntry;
  key: string;
  etag: string;
}

export async function readIndex(placePath: string): Promise<NamedEntry[]> {
  const replay = new IndexReplay("");
  const names = new Map<number, { key: string; etag: string }>();
  await replayLog(join(placePath, "index"), INDEX_FORMAT, (bytes) => {
    const record = decodeRecord(bytes);
    if (record === undefined) return;
    replay.take(record, bytes.length);
    if (record.kind === "entry") names.set(record.identity.fileId, record.identity);
  });
  return Array.from(replay.finish(), (entry) => {
    const { key, etag } = names.get(entry.fileId)!;
    return { entry, key, etag };
  });
}
