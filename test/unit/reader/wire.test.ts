/** What is on the wire: heads and chunks of answers, however they are cut. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChunkedDecoder } from "../../../src/store/lean/chunked.ts";
import { ProtocolError, findHeadEnd, parseContentRange, parseHead } from "../../../src/store/lean/head.ts";
import { encodeChunks } from "./origin.ts";

const FRAMING = new Set(["content-length", "transfer-encoding", "connection"]);

describe("the head parser", () => {
  const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((name) => !FRAMING.has(name));
  const value = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/);

  test("reads what was written, however it is cut", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(token, value), { selector: ([name]) => name, maxLength: 20 }),
        fc.integer({ min: 100, max: 999 }),
        fc.array(fc.nat(200), { maxLength: 20 }),
        fc.string({ unit: "binary", maxLength: 50 }),
        (fields, status, cuts, behind) => {
          const text = `HTTP/1.1 ${status} Reason\r\n${fields.map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n`;
          const bytes = Buffer.from(text + behind, "latin1");
          let seen = 0;
          let end = -1;
          for (const cut of [...cuts, bytes.length]) {
            const to = Math.min(bytes.length, seen + cut);
            end = findHeadEnd(bytes, 0, seen, to);
            if (end >= 0) break;
            seen = to;
          }
          expect(end).toBe(text.length);
          const head = parseHead(text);
          expect(head.status).toBe(status);
          expect([...head.headers]).toEqual(fields);
        },
      ),
    );
  });

  test("never fails in another way than ProtocolError", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.boolean(), (text, plausible) => {
        try {
          parseHead(`${plausible ? "HTTP/1.1 200 OK\r\n" : ""}${text}\r\n\r\n`);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });

  test.each([
    ["a bare line feed", "HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\na : b\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"],
    ["a line without a colon", "HTTP/1.1 200 OK\r\nabc\r\n\r\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\na: \0\r\n\r\n"],
    ["HTTP/2", "HTTP/2 200\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n"],
    ["a length beyond exact numbers", "HTTP/1.1 200 OK\r\ncontent-length: 9999999999999999\r\n\r\n"],
    ["another transfer encoding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n"],
    ["length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["nothing", "\r\n\r\n"],
  ])("refuses %s", (_name, text) => {
    expect(() => parseHead(text)).toThrow(ProtocolError);
  });

  test.each([
    ["HTTP/1.1 200 OK", "", true],
    ["HTTP/1.1 200 OK", "connection: close\r\n", false],
    ["HTTP/1.1 200 OK", "Connection: Keep-Alive\r\n", true],
    ["HTTP/1.0 200 OK", "", false],
    ["HTTP/1.0 200 OK", "connection: keep-alive\r\n", true],
    ["HTTP/1.1 200", "", true],
  ])("%s with %j keeps the connection: %s", (line, field, keepAlive) => {
    expect(parseHead(`${line}\r\n${field}\r\n`).keepAlive).toBe(keepAlive);
  });

  test.each([
    ["bytes 0-9/10", { first: 0, last: 9, total: 10 }],
    ["bytes 5-5/*", { first: 5, last: 5, total: undefined }],
    ["bytes 9-5/10", undefined],
    ["bytes 5-10/10", undefined],
    ["bytes */10", undefined],
    ["items 0-9/10", undefined],
    [undefined, undefined],
  ])("Content-Range %s", (text, range) => {
    expect(parseContentRange(text)).toEqual(range);
  });
});

describe("the chunk decoder", () => {
  test("undoes any chunks in any pieces, in place", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 500 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 30 }),
        fc.constantFrom("", ";a=b", ' ;x="y"'),
        (body, size, pieces, extension) => {
          const raw = Buffer.concat(encodeChunks(body, size, extension));
          const room = new Uint8Array(body.length + 4096);
          const decoder = new ChunkedDecoder();
          let out = 0;
          let at = 0;
          for (let piece = 0; at < raw.length; piece++) {
            const part = raw.subarray(at, at + pieces[piece % pieces.length]!);
            room.set(part, out);
            out = decoder.decode(room, out, out + part.length);
            at += part.length;
          }
          expect(decoder.done).toBe(true);
          expect(Buffer.from(room.subarray(0, out))).toEqual(Buffer.from(body));
        },
      ),
    );
  });

  test("reads trailers over", () => {
    const raw = Buffer.from("1\r\nx\r\n0\r\nx-amz-checksum: y\r\nz: w\r\n\r\n");
    const decoder = new ChunkedDecoder();
    expect(decoder.decode(raw, 0, raw.length)).toBe(1);
    expect(decoder.done).toBe(true);
  });

  test.each([
    "zz\r\n",
    "\r\n",
    "123456789\r\n",
    "1\nx",
    "1\r\nxy\r\n",
    "0\r\n\r\nmore",
    "1\r\nx\r\r",
    "0\r\n\n",
    `1;${"e".repeat(5000)}`,
  ])("refuses %j", (text) => {
    const raw = Buffer.from(text);
    expect(() => new ChunkedDecoder().decode(raw, 0, raw.length)).toThrow(ProtocolError);
  });
});
