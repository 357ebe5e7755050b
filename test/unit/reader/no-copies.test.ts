/** Content goes from the socket to its window without a copy in JavaScript: what is copied is heads, not bodies. */
import { afterEach, expect, test, vi } from "vitest";
import { KiB, MiB } from "../../../src/common/units.ts";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { Bench, firstDifference, pattern } from "./harness.ts";
import { Origin, answerBytes } from "./origin.ts";

const content = pattern(8 * MiB);
/** Every typed array's; `Buffer` has its own copy besides. */
const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;

afterEach(() => vi.restoreAllMocks());

/** Counts the bytes that JavaScript copies from now on, in whatever way. */
function countCopies(): () => number {
  let bytes = 0;
  const count = (length: number): void => void (bytes += length);
  const set = vi.spyOn(typedArray, "set");
  const slice = vi.spyOn(typedArray, "slice");
  const copyWithin = vi.spyOn(typedArray, "copyWithin");
  const copy = vi.spyOn(Buffer.prototype, "copy");
  const concat = vi.spyOn(Buffer, "concat");
  return () => {
    for (const [from] of set.mock.calls) count(from.length);
    for (const { value } of [...slice.mock.results, ...concat.mock.results, ...copyWithin.mock.results])
      count((value as Uint8Array).length);
    for (const { value } of copy.mock.results) count(value as number);
    return bytes;
  };
}

test.each([
  ["plain TCP", undefined],
  ["TLS", { key: KEY, cert: CERTIFICATE }],
])("over %s", async (_name, secure) => {
  const origin = await Origin.start(() => undefined, secure);
  {
    await using bench = new Bench(origin, { bodyBytes: content.length, windows: 2, ca: CERTIFICATE });
    // Made before anything is counted: the server's part is no matter here.
    const answers = [0, 1].map(() =>
      answerBytes(
        { index: 0, connection: 0, path: "", headers: {}, first: undefined, last: undefined },
        content,
        {},
      ),
    );
    origin.handler = (reply, { index }) => reply.raw(answers[index]!);
    const copied = countCopies();
    const results = [];
    for (const window of [0, 1]) results.push(await bench.read(content.length, { window }));
    const copiedBytes = copied();
    vi.restoreAllMocks();
    for (const result of results) expect(firstDifference(bench.body(result), content)).toBe(-1);
    expect(copiedBytes).toBeLessThan(64 * KiB);
  }
  await origin.close();
});
