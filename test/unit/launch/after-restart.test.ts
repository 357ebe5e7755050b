/** What a worker that came up with its machine believes of the pool's end, and when it tries again to bring data home. */
import { describe, expect, test } from "vitest";
import { AfterRestart } from "../../../src/launch/worker/after-restart.ts";
import type { Unflushed } from "../../../src/launch/worker/protocol.ts";
import { silentLogger as log } from "../../../src/observe/logger.ts";

const KNOWN = Date.parse("2026-01-02T03:04:05.000Z");
const LATER = "2026-01-02T09:00:00.000Z";

const spec = { notices: true, expiresMs: KNOWN };
const saying = (said: string | null | undefined) => ({ expiry: () => Promise.resolve(said) });

describe("the end that its tag has", () => {
  test.each([
    ["moved", LATER, { expiresMs: Date.parse(LATER) }, true],
    ["taken away", "never", { expiresMs: undefined }, true],
    ["the same", "2026-01-02T03:04:05.000Z", undefined, true],
    ["not shown", null, undefined, true],
    ["nonsense", "soon", undefined, true],
    ["not to be asked yet", undefined, undefined, false],
  ])("%s", async (_what, said, moved, known) => {
    const restart = new AfterRestart(log);
    expect(restart.knowsEnd).toBe(false);
    expect(await restart.movedEnd(spec, saying(said))).toEqual(moved);
    expect(restart.knowsEnd).toBe(known);
  });

  test("a machine without a metadata service has what it was told", async () => {
    const restart = new AfterRestart(log);
    expect(await restart.movedEnd({ ...spec, notices: false }, saying(LATER))).toBeUndefined();
    expect(restart.knowsEnd).toBe(true);
  });

  test("what a launcher says meanwhile is newer", async () => {
    const restart = new AfterRestart(log);
    const asked = restart.movedEnd(spec, saying(LATER));
    restart.endIsKnown();
    expect(await asked).toBeUndefined();
  });
});

test("volumes are tried once until it is time again, and no more once all are there", async () => {
  const kept: Unflushed = { volume: "out", mount: "/mnt/out", reason: "no network", pendingFiles: -1 };
  let tries = 0;
  const mounts = (left: Unflushed[]) => ({
    restore: () => {
      tries++;
      return Promise.resolve(left);
    },
  });
  const first = new AfterRestart(log);
  expect(await first.restore(mounts([kept]))).toEqual([kept]);
  expect(await first.restore(mounts([kept]))).toBeUndefined();
  const second = new AfterRestart(log);
  expect(await second.restore(mounts([]))).toEqual([]);
  expect(await second.restore(mounts([kept]))).toBeUndefined();
  expect(tries).toBe(2);
});
