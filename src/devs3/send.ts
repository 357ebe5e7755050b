/**
 * Puts a reply on the wire: the head, then the body with backpressure, and whatever a fault does to them.
 */
import type { ServerResponse } from "node:http";

import type { Clock } from "../common/clock.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { ContentBody, Reply } from "./context.ts";
import type { Fault } from "./faults.ts";

export interface Sent {
  bytesOut: Bytes;
  completed: boolean;
}

/** The connection ended before the answer did. */
class Disconnected extends Error {}

/** Resolves when the socket takes more; rejects when it is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error) => {
      response.off("drain", onDrain);
      response.off("close", onClose);
      if (error) reject(error);
      else resolve();
    };
    const onDrain = () => done();
    const onClose = () => done(new Disconnected());
    response.on("drain", onDrain);
    response.on("close", onClose);
    if (response.destroyed) onClose();
  });
}

/** Resolves with `wait`, or when the client is gone. */
async function unlessClosed(response: ServerResponse, wait: Promise<void>): Promise<void> {
  if (response.destroyed) return;
  let onClose = (): void => {};
  const closed = new Promise<void>((resolve) => (onClose = resolve));
  response.on("close", onClose);
  await Promise.race([wait, closed]);
  response.off("close", onClose);
}

function delay(clock: Clock, ms: Milliseconds, response: ServerResponse): Promise<void> {
  return unlessClosed(response, new Promise((resolve) => clock.after(ms, resolve)));
}

// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[^\x20-\x7e]/;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x1f\x7f]/g;

/** Header text as UTF-8 bytes, which Node takes as latin1. A control character would end the header, or be refused. */
function wireHeaders(headers: Record<string, string>): Record<string, string> {
  const wire: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    wire[name] = UNPRINTABLE.test(value)
      ? Buffer.from(value.replace(CONTROL, " "), "utf8").toString("latin1")
      : value;
  }
  return wire;
}

async function* chunksOf(body: string | ContentBody): AsyncGenerator<Uint8Array> {
  if (typeof body === "string") yield Buffer.from(body, "utf8");
  else if (Buffer.isBuffer(body.source)) yield body.source.subarray(body.offset, body.offset + body.length);
  else yield* body.source.chunks(body.offset, body.length);
}

/** Cuts a chunk at the places where a fault acts. */
function* pieces(
  chunk: Uint8Array,
  sent: Bytes,
  stops: readonly Bytes[],
  step: Bytes,
): Generator<Uint8Array> {
  let from = 0;
  while (from < chunk.length) {
    let to = Math.min(chunk.length, from + step);
    for (const stop of stops) if (stop > sent + from && stop < sent + to) to = stop - sent;
    yield chunk.subarray(from, to);
    from = to;
  }
}

export class Sender {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Never rejects for a client that went away. Closes the body's source. */
  async send(
    response: ServerResponse,
    reply: Reply,
    method: string,
    fault: Fault | undefined,
  ): Promise<Sent> {
    const { body } = reply;
    try {
      const rule = fault?.rule;
      if (rule?.latencyMs !== undefined) await delay(this.#clock, rule.latencyMs, response);
      if (rule?.hold) await unlessClosed(response, fault!.held());
      if (response.destroyed) return { bytesOut: 0, completed: false };
      const headers = wireHeaders(reply.headers ?? {});
      if (typeof body === "string") {
        headers["content-type"] ??= "application/xml";
        headers["content-length"] = String(Buffer.byteLength(body));
      } else if (!body && method !== "HEAD" && reply.status !== 204 && reply.status !== 304) {
        headers["content-length"] ??= "0";
      }
      response.writeHead(reply.status, headers);
      if (body === undefined || method === "HEAD") {
        response.end();
        return { bytesOut: 0, completed: true };
      }
      return fault && actsOnBody(fault)
        ? await this.#sendFaulty(response, body, fault)
        : await sendPlain(response, body);
    } finally {
      if (body !== undefined && typeof body !== "string" && !Buffer.isBuffer(body.source))
        await body.source.close();
    }
  }

  async #sendFaulty(response: ServerResponse, body: string | ContentBody, fault: Fault): Promise<Sent> {
    const { cutAfterBytes, flipByteAt, holdAfterBytes, bytesPerSecond } = fault.rule;
    const stops = [cutAfterBytes, holdAfterBytes].filter((stop) => stop !== undefined);
    // 20 steps a second look like a slow line.
    const step =
      bytesPerSecond === undefined ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(bytesPerSecond / 20));
    let bytesOut = 0;
    try {
      for await (const chunk of chunksOf(body)) {
        for (const piece of pieces(chunk, bytesOut, stops, step)) {
          if (bytesOut === cutAfterBytes) return await cut(response, bytesOut);
          if (bytesOut === holdAfterBytes) await unlessClosed(response, fault.held());
          if (bytesPerSecond !== undefined) {
            await delay(this.#clock, (piece.length / bytesPerSecond) * 1000, response);
          }
          if (response.destroyed) return { bytesOut, completed: false };
          const more = response.write(flipped(piece, bytesOut, flipByteAt));
          bytesOut += piece.length;
          if (!more) await drained(response);
        }
      }
      if (cutAfterBytes !== undefined && cutAfterBytes <= bytesOut) return await cut(response, bytesOut);
      response.end();
      return { bytesOut, completed: true };
    } catch (error) {
      if (error instanceof Disconnected) return { bytesOut, completed: false };
      throw error;
    }
  }
}

function actsOnBody(fault: Fault): boolean {
  const { cutAfterBytes, flipByteAt, holdAfterBytes, bytesPerSecond } = fault.rule;
  return [cutAfterBytes, flipByteAt, holdAfterBytes, bytesPerSecond].some((one) => one !== undefined);
}

function flipped(piece: Uint8Array, offset: Bytes, at: Bytes | undefined): Uint8Array {
  if (at === undefined || at < offset || at >= offset + piece.length) return piece;
  const copy = Buffer.from(piece);
  copy[at - offset]! ^= 1;
  return copy;
}

/** What was written reaches the client before the connection ends. */
async function cut(response: ServerResponse, bytesOut: Bytes): Promise<Sent> {
  response.flushHeaders();
  const { socket } = response;
  if (socket) {
    await new Promise<void>((resolve) => socket.write(new Uint8Array(0), () => resolve()));
    socket.destroy();
  }
  return { bytesOut, completed: false };
}

async function sendPlain(response: ServerResponse, body: string | ContentBody): Promise<Sent> {
  if (typeof body === "string") {
    response.end(body);
    return { bytesOut: Buffer.byteLength(body), completed: true };
  }
  if (Buffer.isBuffer(body.source)) {
    response.end(body.source);
    return { bytesOut: body.source.length, completed: true };
  }
  let bytesOut = 0;
  try {
    for await (const chunk of body.source.chunks(body.offset, body.length)) {
      const more = response.write(chunk);
      bytesOut += chunk.length;
      if (!more) await drained(response);
    }
  } catch (error) {
    // The head is out: all that can be said is that the body is not whole.
    response.destroy();
    if (error instanceof Disconnected) return { bytesOut, completed: false };
    throw error;
  }
  response.end();
  return { bytesOut, completed: true };
}
