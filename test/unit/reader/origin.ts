/** A server that says exactly what a test wants it to, byte by byte, over plain TCP or TLS. */
import { once } from "node:events";
import * as net from "node:net";
import * as tls from "node:tls";

/** One request as it arrived. */
export interface Ask {
  /** Counted from 0, over all connections. */
  index: number;
  connection: number;
  path: string;
  headers: Record<string, string>;
  first: number | undefined;
  last: number | undefined;
}

export interface AnswerOptions {
  etag?: string;
  /** Sizes of the pieces to send the answer in; the last repeats. */
  pieces?: number[];
  chunked?: number;
  headers?: Record<string, string>;
  /** Cuts the connection after so many bytes, the head included. */
  cutAfter?: number;
  /** Says this total instead of the content's size. */
  total?: number;
  status?: string;
}

export class Reply {
  readonly socket: net.Socket;
  readonly ask: Ask;

  constructor(socket: net.Socket, ask: Ask) {
    this.socket = socket;
    this.ask = ask;
  }

  raw(data: string | Uint8Array): void {
    this.socket.write(typeof data === "string" ? Buffer.from(data, "latin1") : data);
  }

  /** Answers as a store does that has this content. */
  async content(content: Uint8Array, options: AnswerOptions = {}): Promise<void> {
    await this.send(answerBytes(this.ask, content, options), options);
  }

  async send(bytes: Uint8Array, { pieces, cutAfter }: AnswerOptions = {}): Promise<void> {
    const wanted = cutAfter === undefined ? bytes : bytes.subarray(0, cutAfter);
    let at = 0;
    for (let piece = 0; at < wanted.length; piece++) {
      const size = pieces?.[Math.min(piece, pieces.length - 1)] ?? wanted.length;
      if (this.socket.destroyed) return;
      await new Promise<void>((resolve) =>
        this.socket.write(wanted.subarray(at, at + size), () => resolve()),
      );
      // A turn between pieces, so that the other side reads them one by one.
      await new Promise(setImmediate);
      at += size;
    }
    if (cutAfter !== undefined) this.socket.destroy();
  }

  error(status: number, code: string, headers: Record<string, string> = {}, extra = ""): void {
    const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no &amp; never</Message>${extra}<RequestId>R1</RequestId></Error>`;
    const lines = Object.entries({ ...headers, "content-length": String(body.length) });
    this.raw(`HTTP/1.1 ${status} X\r\n${lines.map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n${body}`);
  }
}

export function answerBytes(ask: Ask, content: Uint8Array, options: AnswerOptions): Uint8Array {
  const first = ask.first ?? 0;
  const last = Math.min(ask.last ?? content.length - 1, content.length - 1);
  const body = content.subarray(first, last + 1);
  const ranged = ask.first !== undefined;
  let head = `HTTP/1.1 ${options.status ?? (ranged ? "206 Partial Content" : "200 OK")}\r\n`;
  head += `ETag: "${options.etag ?? "e1"}"\r\n`;
  if (ranged) head += `Content-Range: bytes ${first}-${last}/${options.total ?? content.length}\r\n`;
  for (const [name, value] of Object.entries(options.headers ?? {})) head += `${name}: ${value}\r\n`;
  if (options.chunked === undefined) {
    return Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`, "latin1"), body]);
  }
  const parts: Uint8Array[] = [Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`, "latin1")];
  parts.push(...encodeChunks(body, options.chunked));
  return Buffer.concat(parts);
}

export function encodeChunks(body: Uint8Array, size: number, extension = ""): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) {
    const chunk = body.subarray(at, at + size);
    parts.push(
      Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`),
      Buffer.from(chunk),
      Buffer.from("\r\n"),
    );
  }
  parts.push(Buffer.from("0\r\n\r\n"));
  return parts;
}

export type Handler = (reply: Reply, ask: Ask) => void | Promise<void>;

/** Listens on loopback. `handler` may be replaced at any time. */
export class Origin {
  handler: Handler;
  readonly asks: Ask[] = [];
  connections = 0;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #scheme: string;
  #waiting: { count: number; resolve: () => void }[] = [];

  private constructor(handler: Handler, secure?: { key: string; cert: string }) {
    this.handler = handler;
    this.#scheme = secure ? "https" : "http";
    const accept = (socket: net.Socket): void => this.#accept(socket);
    this.#server = secure ? tls.createServer(secure, accept) : net.createServer(accept);
    this.#server.on("tlsClientError", () => undefined);
  }

  static async start(handler: Handler, secure?: { key: string; cert: string }, port = 0): Promise<Origin> {
    const origin = new Origin(handler, secure);
    origin.#server.listen(port, "127.0.0.1");
    await once(origin.#server, "listening");
    return origin;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  get endpoint(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}`;
  }

  /** Resolves when so many requests have arrived in all. */
  arrived(count: number): Promise<void> {
    if (this.asks.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(socket: net.Socket): void {
    const connection = this.connections++;
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const ask = parseAsk(text.slice(0, end), this.asks.length, connection);
        text = text.slice(end + 4);
        this.asks.push(ask);
        void this.handler(new Reply(socket, ask), ask);
        this.#waiting = this.#waiting.filter(({ count, resolve }) => {
          if (this.asks.length < count) return true;
          resolve();
          return false;
        });
      }
    });
  }
}

function parseAsk(text: string, index: number, connection: number): Ask {
  const [line, ...fields] = text.split("\r\n");
  const headers = Object.fromEntries(
    fields.map((field) => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()]),
  );
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers["range"] ?? "");
  return {
    index,
    connection,
    path: line!.split(" ")[1]!,
    headers,
    first: range ? Number(range[1]) : undefined,
    last: range ? Number(range[2]) : undefined,
  };
}
