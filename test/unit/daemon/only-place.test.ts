/** The lock of a volume's part of the staging folder: who finds it held waits as long as a killed process may take. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { takePlace } from "../../../src/cache/cache-folder.ts";
import { takeOnlyPlace } from "../../../src/daemon/writing.ts";
import { TestClock } from "../store/test-clock.ts";

const VOLUME = { identity: "https://store.example", bucket: "bucket", prefix: "" };

/** Tells when somebody begins to wait; unless that is asked for, the time they wait for passes at once. */
class WatchedClock extends TestClock {
  onWait = (ms: number): void => void setImmediate(() => this.advance(ms));

  override after(ms: number, fn: () => void): () => void {
    const cancel = super.after(ms, fn);
    this.onWait(ms);
    return cancel;
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

test("W14 a lock that is let go of meanwhile is taken", async () => {
  const first = await takePlace(folder, VOLUME);
  const waits = new Promise<number>((resolve) => (clock.onWait = resolve));
  const next = takeOnlyPlace(folder, VOLUME, clock);
  const ms = await waits;
  await first.release();
  clock.advance(ms);
  const taken = await next;
  await taken.release();
});

test("W14 a lock that stays held is told", async () => {
  const first = await takePlace(folder, VOLUME);
  await expect(takeOnlyPlace(folder, VOLUME, clock)).rejects.toMatchObject({ code: "volume_in_use" });
  await first.release();
});
