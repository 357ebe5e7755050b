import { expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { KiB, MiB } from "../../../src/common/units.ts";
import { createContent } from "../../../src/cache/create-content.ts";
import type { Span } from "../../../src/cache/content.ts";
import { FakeRangeReader, bytesOf, expectedBytes, nextTurn, version } from "./support.ts";

function contentOf(slabBytes: number) {
  const slab = new SharedArrayBuffer(slabBytes);
  const reader = new FakeRangeReader(slab);
  return { reader, content: createContent({ reader, slab, prefetch: false }) };
}

test("a read fetches the blocks it touches and a second read is synchronous", async () => {
  const { reader, content } = contentOf(32 * MiB);
  const of = version("a", 3 * MiB + 17);
  const open = content.open(of);
  const span = await open.read(MiB - 5, 10);
  expect(bytesOf(span)).toEqual(Buffer.from(expectedBytes(of, MiB - 5, 10)));
  span.release();
  expect(reader.sent.map(({ offset, length }) => [offset, length])).toEqual([[MiB - 128 * KiB, 256 * KiB]]);
  const again = open.read(MiB - 100, 200) as Span;
  expect(bytesOf(again)).toEqual(Buffer.from(expectedBytes(of, MiB - 100, 200)));
  again.release();
  await content.close();
});

test("reads at and past the end are short, an empty object reads as nothing", async () => {
  const { content } = contentOf(32 * MiB);
  const open = content.open(version("a", 1000));
  const tail = await open.read(990, 100);
  expect(tail.lengthBytes).toBe(10);
  tail.release();
  expect((await open.read(1000, 5)).lengthBytes).toBe(0);
  expect((await content.open(version("empty", 0)).read(0, 5)).lengthBytes).toBe(0);
  await content.close();
});

test("many readers of one block share one request", async () => {
  const { reader, content } = contentOf(32 * MiB);
  reader.hold = true;
  const of = version("a", MiB);
  const reads = Array.from({ length: 64 }, () => content.open(of).read(0, MiB));
  await reader.untilSent(1);
  reader.release();
  for (const read of reads) (await read).release();
  expect(reader.sent).toHaveLength(1);
  await content.close();
});

test("adjacent missing blocks travel as ranges of at most 8 MiB", async () => {
  const { reader, content } = contentOf(128 * MiB);
  const open = content.open(version("a", 64 * MiB));
  (await open.read(0, 20 * MiB)).release();
  expect(reader.sent.map(({ length }) => length / MiB)).toEqual([8, 8, 4]);
  await content.close();
});

test("what waits for a prefetch or another reader fails with it and can be read again", async () => {
  const { reader, content } = contentOf(32 * MiB);
  const open = content.open(version("a", MiB));
  reader.failure = () => new HawserError("store_failed", "500", { s3Code: "InternalError" });
  await expect(open.read(0, 10)).rejects.toMatchObject({ code: "io_error", s3Code: "InternalError" });
  reader.failure = () => undefined;
  (await open.read(0, 10)).release();
  await content.close();
});

test("a replaced object is stale, unless its version can still be named", async () => {
  const { reader, content } = contentOf(32 * MiB);
  reader.current.set("a", "other");
  await expect(content.open(version("a", MiB)).read(0, 10)).rejects.toMatchObject({ code: "stale" });
  const named = { ...version("a", MiB), versionId: "v7" };
  const open = content.open(named);
  await expect(open.read(0, 10)).resolves.toMatchObject({ lengthBytes: 10 });
  await content.close();
});

test("an interrupted read leaves its request to the others", async () => {
  const { reader, content } = contentOf(32 * MiB);
  reader.hold = true;
  const of = version("a", MiB);
  const abort = new AbortController();
  const interrupted = content.open(of).read(0, 10, abort.signal);
  const other = content.open(of).read(0, 10);
  abort.abort();
  await expect(interrupted).rejects.toMatchObject({ code: "interrupted" });
  reader.release();
  expect((await other).lengthBytes).toBe(10);
  await content.close();
});

test("a slab smaller than what its readers want is slow, never stuck and never over", async () => {
  const { reader, content } = contentOf(5 * MiB);
  const objects = Array.from({ length: 20 }, (_, i) => version(`o${i}`, 6 * MiB));
  await Promise.all(
    objects.map(async (of, i) => {
      const open = content.open(of);
      for (let at = (i * 37) % 1000; at < of.sizeBytes; at += MiB) {
        const span = await open.read(at, MiB);
        await nextTurn();
        expect(Buffer.compare(bytesOf(span), expectedBytes(of, at, span.lengthBytes))).toBe(0);
        span.release();
      }
      open.close();
    }),
  );
  expect(reader.sent.length).toBeGreaterThan(20);
  await content.close();
});

test("whoever waits for room can be interrupted and does not hold up those behind", async () => {
  const { content } = contentOf(5 * MiB);
  const open = content.open(version("a", 64 * MiB));
  const held: Span[] = [];
  for (let i = 0; i < 4; i++) held.push(await open.read(i * 1.125 * MiB, MiB));
  const abort = new AbortController();
  const first = open.read(20 * MiB, MiB, abort.signal);
  const second = open.read(30 * MiB, MiB);
  await nextTurn();
  abort.abort();
  await expect(first).rejects.toMatchObject({ code: "interrupted" });
  for (const span of held) span.release();
  (await second).release();
  await content.close();
});

test("a read that could never be brought together is refused", async () => {
  const { content } = contentOf(5 * MiB);
  const open = content.open(version("a", 64 * MiB));
  expect(() => open.read(0, 3 * MiB)).toThrow(/too long/);
  await content.close();
});

test("close ends what is under way, may be called twice, and refuses new opens", async () => {
  const { reader, content } = contentOf(32 * MiB);
  reader.hold = true;
  const open = content.open(version("a", MiB));
  const read = open.read(0, 10);
  const [outcome] = await Promise.allSettled([read, content.close(), content.close()]);
  expect(outcome).toMatchObject({ status: "rejected", reason: expect.any(HawserError) });
  expect(() => content.open(version("b", 1))).toThrow(/closed/);
  open.close();
  open.close();
});
