import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import type { Clock } from "../../../src/common/clock.ts";
import { MiB } from "../../../src/common/units.ts";
import { createProgress, describeProgress } from "../../../src/observe/progress.ts";

class ManualClock implements Clock {
  time = 0;
  now = () => this.time;
  monotonic = () => this.time;
  after = () => () => {};
}

function sink(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY });
  return { stream, text: () => String(stream.read() ?? "") };
}

test.each([
  ["bytes", 0, 0, 0, "0 B"],
  ["bytes", 3 * MiB, 12 * MiB, 2000, "3.0 MiB of 12.0 MiB (25%), 1.5 MiB/s, 6s left"],
  ["bytes", 12 * MiB, 12 * MiB, 4000, "12.0 MiB of 12.0 MiB (100%), 3.0 MiB/s"],
  ["files", 10, 40, 1000, "10 files of 40 files (25%), 10 files/s, 3s left"],
  ["files", 10, 0, 100, "10 files"],
] as const)("%s: %d of %d after %d ms", (unit, done, total, elapsedMs, text) => {
  expect(describeProgress(unit, done, total, elapsedMs)).toBe(text);
});

test("a log gets a line at the start, one every ten seconds, and one at the end", () => {
  const clock = new ManualClock();
  const { stream, text } = sink(false);
  const progress = createProgress({ label: "Uploading", unit: "files", stream, clock });
  for (clock.time = 0; clock.time < 25_000; clock.time += 1000) progress.update(clock.time / 1000, 30);
  progress.update(30, 30);
  progress.stop();
  progress.stop();
  progress.update(31, 31);
  const lines = text().trim().split("\n");
  expect(lines).toHaveLength(4);
  expect(lines[0]).toBe("Uploading: 0 files of 30 files (0%)");
  expect(lines[3]).toMatch(/^Uploading: 30 files of 30 files \(100%\)/);
});

test("a terminal gets a bar", () => {
  const { stream, text } = sink(true);
  const progress = createProgress({ label: "Uploading", unit: "bytes", stream });
  progress.update(MiB, 2 * MiB);
  progress.stop();
  expect(text()).toMatch(/Uploading █+░+ 1\.0 MiB of 2\.0 MiB \(50%\)/);
});
