/** Bytes on their way into the window: how they may arrive, and that nothing else is touched. */
import type { Socket } from "node:net";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Bench, firstDifference, pattern, rejection } from "./harness.ts";
import { Origin } from "./origin.ts";

const content = pattern(60_000);
let origin: Origin;

beforeEach(async () => {
  origin = await Origin.start((reply) => reply.content(content));
});
afterEach(() => origin.close());

describe("a range", () => {
  test.each([
    ["the whole object", 0, 60_000],
    ["its first byte", 0, 1],
    ["its last byte", 59_999, 1],
    ["its middle", 12_345, 20_000],
  ])("%s lands in the window and nowhere else", async (_name, offset, length) => {
    await using bench = new Bench(origin);
    const result = await bench.read(content.length, { offset, length, window: 3 });
    expect(firstDifference(bench.body(result), content.slice(offset, offset + length))).toBe(-1);
    expect(result.bodyLength).toBe(length);
    expect(bench.trespasses()).toEqual([]);
  });

  test("is asked for without Range when it is the whole object, with Range otherwise", async () => {
    await using bench = new Bench(origin);
    await bench.read(content.length);
    await bench.read(content.length, { offset: 1 });
    expect(origin.asks.map(({ headers }) => headers["range"])).toEqual([undefined, "bytes=1-59999"]);
    expect(origin.asks.map(({ headers }) => headers["if-match"])).toEqual(['"e1"', '"e1"']);
    expect(origin.asks[0]!.headers["accept-encoding"]).toBe("identity");
  });

  test("follows another on the same connection", async () => {
    await using bench = new Bench(origin);
    for (let turn = 0; turn < 20; turn++) {
      const result = await bench.read(content.length, { offset: turn * 100, length: 1000 + turn });
      expect(firstDifference(bench.body(result), content.slice(turn * 100, turn * 100 + 1000 + turn))).toBe(
        -1,
      );
    }
    expect(origin.connections).toBe(1);
    expect(bench.trespasses()).toEqual([]);
  });
});

describe("an answer", () => {
  test.each([
    ["byte by byte", [1]],
    ["with its head byte by byte and its body at once", [...Array<number>(130).fill(1), 100_000]],
    ["in two halves of a line", [40, 20, 100_000]],
    ["in odd pieces", [7, 1, 90, 3000, 11]],
  ])("may arrive %s", async (_name, pieces) => {
    const small = content.slice(0, 3000);
    origin.handler = (reply) => reply.content(small, { pieces });
    await using bench = new Bench(origin);
    // Twice: the first goes over a fresh connection, the second over an idle one.
    for (let turn = 0; turn < 2; turn++) {
      const result = await bench.read(small.length, { window: turn });
      expect(firstDifference(bench.body(result), small)).toBe(-1);
    }
    expect(bench.trespasses()).toEqual([]);
    expect(origin.asks).toHaveLength(2);
  });

  test("may come after interim ones", async () => {
    origin.handler = (reply) => {
      reply.raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
      return reply.content(content);
    };
    await using bench = new Bench(origin);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(bench.trespasses()).toEqual([]);
  });

  test.each([1, 7, 1000, 100_000])("may be chunked (chunks of %i)", async (chunked) => {
    const small = content.slice(0, 5000);
    origin.handler = (reply) => reply.content(small, { chunked });
    await using bench = new Bench(origin);
    for (let turn = 0; turn < 2; turn++) {
      expect(firstDifference(bench.body(await bench.read(small.length, { window: turn })), small)).toBe(-1);
    }
    expect(origin.connections).toBe(1);
    expect(bench.trespasses()).toEqual([]);
  });

  test("may end its connection, and the next read opens another", async () => {
    origin.handler = (reply) => reply.content(content, { headers: { Connection: "close" } });
    await using bench = new Bench(origin);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.connections).toBe(2);
  });

  test("may have a head of 20 KiB", async () => {
    const headers = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`x-amz-meta-${index}`, "m".repeat(1024)]),
    );
    origin.handler = (reply) => reply.content(content, { headers, pieces: [999] });
    await using bench = new Bench(origin);
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
  });
});

describe("an answer that is not what was asked for", () => {
  const garbage: [string, string][] = [
    ["no HTTP", "SSH-2.0-OpenSSH\r\n\r\n"],
    ["an endless head", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}`],
    ["an endless line", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(200_000)}`],
    ["a folded header", 'HTTP/1.1 200 OK\r\netag: "e1"\r\n folded\r\ncontent-length: 100\r\n\r\n'],
    ["two lengths", 'HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: 100\r\ncontent-length: 99\r\n\r\n'],
    [
      "a length and chunks",
      'HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: 100\r\ntransfer-encoding: chunked\r\n\r\n',
    ],
    ["no length", 'HTTP/1.1 200 OK\r\netag: "e1"\r\n\r\n'],
    [
      "more bytes than it says",
      `HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: 100\r\n\r\n${"b".repeat(101)}`,
    ],
    ["a broken chunk", 'HTTP/1.1 200 OK\r\netag: "e1"\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'],
    [
      "too many chunks",
      `HTTP/1.1 200 OK\r\netag: "e1"\r\ntransfer-encoding: chunked\r\n\r\n65\r\n${"b".repeat(101)}\r\n0\r\n\r\n`,
    ],
    [
      "too few chunks",
      `HTTP/1.1 200 OK\r\netag: "e1"\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n`,
    ],
    [
      "a range nobody asked for",
      `HTTP/1.1 206 X\r\netag: "e1"\r\ncontent-range: bytes 0-99/100\r\ncontent-length: 100\r\n\r\n${"b".repeat(100)}`,
    ],
  ];

  test.each(garbage)("%s: is refused in the end and leaves its neighbours alone", async (_name, text) => {
    origin.handler = (reply) => reply.raw(text);
    await using bench = new Bench(origin);
    const error = await rejection(bench.read(100, { window: 2 }));
    // A body that breaks off is resumed, and what does not know of ranges then cannot be.
    expect(["store_failed", "not_supported_by_store"]).toContain(error.code);
    expect(bench.trespasses()).toEqual([]);
    expect(origin.asks.length).toBeGreaterThan(1);
  });

  test.each([
    ["of a known length", "content-length: 100", ""],
    ["of one large chunk", "transfer-encoding: chunked", "61a80\r\n"],
    ["of chunks that never end", "transfer-encoding: chunked", "1\r\nb\r\n0;"],
  ])("a flood behind a body %s stops at the window's end", async (_name, framing, start) => {
    await using bench = new Bench(origin);
    const closed = new Promise<void>((resolve) => {
      origin.handler = async (reply, ask) => {
        if (ask.index > 0) return reply.error(404, "NoSuchKey");
        reply.socket.once("close", () => resolve());
        // A long head leaves little of the window behind the body.
        const filling = `x: ${"y".repeat(31_000)}\r\n`;
        reply.raw(`HTTP/1.1 200 OK\r\netag: "e1"\r\n${filling}${framing}\r\n\r\n${start}bbbbbbbbbb`);
        // Only what comes after the head was parsed is received by the buffer in question.
        while (!bench.bytes.includes(0x62)) await new Promise(setImmediate);
        reply.raw("b".repeat(400_000));
      };
    });
    await bench.read(100, { window: 2 }).catch(() => undefined);
    await closed;
    expect(bench.trespasses()).toEqual([]);
  });

  test("random bytes never reach a neighbour", async () => {
    await using bench = new Bench(origin);
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary", maxLength: 300 }),
        fc.boolean(),
        async (text, plausible) => {
          const prefix = plausible ? 'HTTP/1.1 200 OK\r\netag: "e1"\r\ncontent-length: 100\r\n' : "";
          const before = origin.asks.length;
          origin.handler = async (reply, ask) => {
            if (ask.index > before) return reply.error(404, "NoSuchKey");
            await reply.send(Buffer.from(prefix + text, "latin1"), { cutAfter: 100_000 });
          };
          await rejection(bench.read(100, { window: 2 }));
          expect(bench.trespasses()).toEqual([]);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("an unasked-for byte on an idle connection ends it", async () => {
    let socket: Socket | undefined;
    origin.handler = (reply) => {
      socket = reply.socket;
      return reply.content(content);
    };
    await using bench = new Bench(origin);
    await bench.read(content.length);
    const closed = new Promise((resolve) => socket!.once("close", resolve));
    socket!.write("H");
    await closed;
    expect(firstDifference(bench.body(await bench.read(content.length)), content)).toBe(-1);
    expect(origin.connections).toBe(2);
    expect(bench.trespasses()).toEqual([]);
  });

  test.each([
    ["another version", { etag: "e2" }, "object_changed"],
    ["another size", { total: 70_000 }, "object_changed"],
  ])("%s is not delivered", async (_name, options, code) => {
    origin.handler = (reply) => reply.content(content, options);
    await using bench = new Bench(origin);
    expect((await rejection(bench.read(content.length, { offset: 1 }))).code).toBe(code);
    expect(origin.asks).toHaveLength(1);
  });

  test("the whole object instead of a range is refused", async () => {
    origin.handler = (reply, ask) => {
      ask.first = ask.last = undefined;
      return reply.content(content);
    };
    await using bench = new Bench(origin);
    const error = await rejection(bench.read(content.length, { offset: 100, length: 100 }));
    expect(error.code).toBe("not_supported_by_store");
  });
});
