/** The local file of an overlay that nobody has written yet: as long as the version, all of it a hole. */
import type { ObjectVersion } from "../cache/content.ts";
import { LocalFile } from "./local-file.ts";
import type { FileStamp } from "./records.ts";
import type { StagingArea } from "./staging-area.ts";

export interface PreparedOverlay {
  id: number;
  stamp: FileStamp;
}

/** Makes it, on the disk itself. */
export async function prepareOverlay(
  area: StagingArea,
  id: number,
  version: ObjectVersion,
): Promise<PreparedOverlay> {
  const local = new LocalFile(area, id);
  local.opened(await area.create(id));
  try {
    await local.truncate(version.sizeBytes);
    await local.setMtime(version.mtimeMs);
    await local.sync();
    return { id, stamp: local.stamp() };
  } finally {
    await local.close();
  }
}
