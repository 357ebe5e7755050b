/** Small files that were closed: when each of them goes. */
import { expect, test } from "vitest";
import {
  AT_ONCE,
  BURST_GAP_MS,
  BURST_MS,
  FOLDING_MS,
  FoldingLine,
} from "../../../src/writeback/folding-line.ts";
import { TestClock } from "../store/test-clock.ts";

/** Rounding to what goes together. */
const ROUNDED_MS = 20;

function setUp(): {
  clock: TestClock;
  line: FoldingLine;
  gone: string[];
  close: (name: string) => () => void;
} {
  const clock = new TestClock();
  const line = new FoldingLine(clock);
  const gone: string[] = [];
  return { clock, line, gone, close: (name) => line.wait(line.closed(), () => gone.push(name)) };
}

test("a file waits for what may fold into its upload, and no longer", () => {
  const { clock, gone, close } = setUp();
  close("a");
  clock.advance(FOLDING_MS - 1);
  expect(gone).toEqual([]);
  clock.advance(1 + ROUNDED_MS);
  expect(gone).toEqual(["a"]);
});

test("while others are closed right after each other it waits on, and then all go, each after its own time", () => {
  const { clock, gone, close } = setUp();
  let closed = 0;
  for (let at = 0; at < 300; at += 10) {
    close(String(closed++));
    clock.advance(10);
  }
  expect(gone).toEqual([]);
  clock.advance(BURST_GAP_MS);
  // Those that were closed last have not waited long enough.
  expect(gone.length).toBeGreaterThan(0);
  expect(gone.length).toBeLessThan(closed);
  clock.advance(FOLDING_MS + ROUNDED_MS);
  expect(gone).toEqual(Array.from({ length: closed }, (_, at) => String(at)));
});

test("a burst that does not end holds nobody longer than its bound", () => {
  const { clock, gone, close } = setUp();
  close("first");
  for (let at = 0; at < FOLDING_MS + BURST_MS + ROUNDED_MS; at += 10) {
    clock.advance(10);
    close("later");
  }
  expect(gone[0]).toBe("first");
});

test("of many that fall due together a few go in each turn", async () => {
  const { clock, gone, close } = setUp();
  for (let at = 0; at < 2 * AT_ONCE + 1; at++) close(String(at));
  clock.advance(FOLDING_MS + ROUNDED_MS);
  expect(gone).toHaveLength(AT_ONCE);
  await new Promise((turn) => setImmediate(turn));
  expect(gone).toHaveLength(2 * AT_ONCE);
  await new Promise((turn) => setImmediate(turn));
  expect(gone).toHaveLength(2 * AT_ONCE + 1);
});

test("who does not wait any more is not called, and holds nobody up", () => {
  const { clock, gone, close } = setUp();
  const cancel = close("a");
  close("b");
  cancel();
  cancel();
  clock.advance(FOLDING_MS + ROUNDED_MS);
  expect(gone).toEqual(["b"]);
  close("c");
  clock.advance(FOLDING_MS + ROUNDED_MS);
  expect(gone).toEqual(["b", "c"]);
});
