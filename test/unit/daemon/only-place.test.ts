/** The lock of a volume's part of the staging folder: who finds it held waits as long as a killed process may take. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { takePlace } from "../../../src/cache/cache-folder.ts";
import { takeOnlyPlace } from "../../../src/daemon/writing.ts";
import { TestClock } from "../store/test-clock.ts";

const VOLUME = { identity: "https://store.example", bucket: "bucket", prefix: "" };

/** Tells when somebody begins to wait. */
class WatchedClock extends TestClock {
  onWait = (): void => undefined;

  override after(ms: number, fn: () => void): () => void {
    this.onWait();
    return super.after(ms, fn);
  }
}

let folder: string;
let clock: WatchedClock;
beforeEach(async () => {
  clock = new WatchedClock();
  folder = await mkdtemp(join(tmpdir(), "hawser-place-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** Moves the clock until the promise has settled. */
async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  let isOver = false;
  const result = Promise.allSettled([promise]).then(([one]) => {
    isOver = true;
    return one;
  });
  while (!isOver) {
    clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return await result;
}

test("W14 a lock that is let go of meanwhile is taken", async () => {
  const first = await takePlace(folder, VOLUME);
  const waits = new Promise<void>((resolve) => (clock.onWait = resolve));
  const next = takeOnlyPlace(folder, VOLUME, clock);
  await waits;
  await first.release();
  const taken = await settled(next);
  expect(taken.status).toBe("fulfilled");
  if (taken.status === "fulfilled") await taken.value.release();
});

test("W14 a lock that stays held is told", async () => {
  const first = await takePlace(folder, VOLUME);
  const refused = await settled(takeOnlyPlace(folder, VOLUME, clock));
  expect(refused).toMatchObject({ status: "rejected", reason: { code: "volume_in_use" } });
  await first.release();
});
