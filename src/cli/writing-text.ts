/** What a writable mount has not brought to the bucket yet, in lines for people. */
import { formatBytes, formatDuration } from "../common/units.ts";
import type { PendingFile } from "../writeback/write-back.ts";
import type { WritingStatus } from "../daemon/writing.ts";

/** Files told one by one; failed ones come first. */
const FILES_SHOWN = 10;

export function describeWriting(
  mountPoint: string,
  { files, pendingFiles, pendingBytes, items, recovered }: WritingStatus & { pendingFiles: number },
): string[] {
  const lines: string[] = [];
  if (pendingFiles > 0 || items > 0) {
    const changes = items > 0 ? `, ${items} other changes` : "";
    lines.push(
      `${mountPoint}: ${pendingFiles} files (${formatBytes(pendingBytes)})${changes} not in the bucket yet`,
    );
  }
  const shown = [...files].sort((a, b) => rank(b) - rank(a) || b.ageMs - a.ageMs).slice(0, FILES_SHOWN);
  for (const file of shown) lines.push(`  ${describeFile(file)}`);
  if (pendingFiles > shown.length) lines.push(`  and ${pendingFiles - shown.length} more`);
  if (recovered > 0)
    lines.push(`${mountPoint}: ${recovered} recovered files; list them with: hawser recovered ls`);
  return lines;
}

function rank({ state }: PendingFile): number {
  return state === "failed" ? 1 : 0;
}

function describeFile({
  key,
  state,
  sizeBytes,
  sentBytes,
  ageMs,
  bytesPerSecond,
  lastError,
}: PendingFile): string {
  const parts = [
    key,
    state,
    sentBytes > 0 ? `${formatBytes(sentBytes)} of ${formatBytes(sizeBytes)}` : formatBytes(sizeBytes),
    `for ${formatDuration(ageMs)}`,
  ];
  if (bytesPerSecond > 0) parts.push(`${formatBytes(bytesPerSecond)}/s`);
  if (lastError) parts.push(lastError.message);
  return parts.join(", ");
}
