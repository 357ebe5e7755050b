/** What is told of files that are not in the bucket yet: how large, how far, since when, how fast and what failed. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { MiB } from "../../../src/common/units.ts";
import { describeWriting } from "../../../src/cli/writing-text.ts";
import type { PendingFile } from "../../../src/writeback/write-back.ts";
import { Harness, PART, bytesOf, turns } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

function pending(key: string): PendingFile {
  const { files } = h.wb.status();
  return files.find((file) => file.key === key)!;
}

test("an upload under way is told with its age, the bytes that were sent, and how fast they were", async () => {
  const release = h.store.faults.hang({ method: "uploadPart", nth: 2 });
  await h.write("big", bytesOf(2 * PART + 10));
  await h.until(() => pending("big").sentBytes > 0);
  await turns(5);
  const before = pending("big");
  h.clock.advance(20_000);
  const after = pending("big");
  const { sentBytes, sizeBytes } = after;
  expect(after).toMatchObject({ key: "big", state: "uploading", sizeBytes: 2 * PART + 10 });
  expect(sentBytes).toBeLessThan(sizeBytes);
  expect(after.ageMs - before.ageMs).toBe(20_000);
  expect(after.ageMs).toBeGreaterThanOrEqual(20_000);
  // As many bytes over more time.
  expect(after.bytesPerSecond).toBeLessThanOrEqual(sentBytes / 20);
  expect(after.bytesPerSecond).toBeGreaterThan((sentBytes * 1000) / (after.ageMs + 1));
  release();
  await h.wb.flush();
  expect(h.wb.status()).toMatchObject({ files: [], pendingBytes: 0 });
});

test("a failure that passes is told until the file is in the bucket", async () => {
  const slow = new HawserError("slow_down", "Too many requests.");
  const heal = h.store.faults.fail({ method: "put", times: Infinity, error: slow });
  await h.write("a", "content");
  await h.until(() => pending("a").lastError !== undefined);
  expect(pending("a").lastError).toEqual({ code: "slow_down", message: slow.message });
  heal();
  await h.wb.flush();
  expect(h.wb.status().files).toEqual([]);
});

test("status says all of it, what has failed first and what has waited longest next", () => {
  const file = (key: string, more: Partial<PendingFile> = {}): PendingFile => ({
    key,
    state: "sealed",
    sizeBytes: 2 * MiB,
    sentBytes: 0,
    ageMs: 1000,
    bytesPerSecond: 0,
    ...more,
  });
  const sending: Partial<PendingFile> = { sentBytes: MiB, ageMs: 90_000, bytesPerSecond: MiB / 2 };
  const refused = { code: "access_denied", message: "The store refuses it." };
  const files = [
    file("new"),
    file("sending", { state: "uploading", ...sending }),
    file("refused", { state: "failed", lastError: refused }),
    ...Array.from({ length: 9 }, (_, at) => file(`more-${at}`, { ageMs: 500 - at })),
  ];
  const status = { pendingFiles: files.length, pendingBytes: 24 * MiB, items: 3, recovered: 2 };
  const lines = describeWriting("/mnt", { ...status, files, folder: "", stagingBytes: 0, syncedAtMs: 0 });
  expect(lines).toEqual([
    "/mnt: 12 files (24.0 MiB), 3 other changes not in the bucket yet",
    "  refused, failed, 2.0 MiB, for 1s, The store refuses it.",
    "  sending, uploading, 1.0 MiB of 2.0 MiB, for 1m 30s, 512 KiB/s",
    "  new, sealed, 2.0 MiB, for 1s",
    ...Array.from({ length: 7 }, (_, at) => `  more-${at}, sealed, 2.0 MiB, for ${500 - at}ms`),
    "  and 2 more",
    "/mnt: 2 recovered files; list them with: hawser recovered ls",
  ]);
});
