/** Progress of uploads, for commands that wait for them. */
import type { PendingProgress } from "../daemon/write-control.ts";
import { createProgress } from "../observe/progress.ts";
import type { Progress } from "../observe/progress.ts";

/** Runs what waits for uploads, with a bar as soon as there is something to wait for. */
export async function withUploads<T>(
  action: (onProgress: (progress: PendingProgress) => void) => Promise<T>,
): Promise<T> {
  let bar: Progress | undefined;
  let total = 0;
  try {
    return await action(({ bytes }) => {
      if (bytes === 0 && !bar) return;
      total = Math.max(total, bytes);
      bar ??= createProgress({ label: "Uploading", unit: "bytes", stream: process.stderr });
      bar.update(total - bytes, total);
    });
  } finally {
    bar?.stop();
  }
}
