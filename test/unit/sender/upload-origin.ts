/** A server for uploads that says exactly what a test wants it to, when it wants it, over plain TCP or TLS. */
import { once } from "node:events";
import * as net from "node:net";
import * as tls from "node:tls";

/** One request as it arrives. */
export class Incoming {
  readonly socket: net.Socket;
  /** Counted from 0. */
  readonly connection: number;
  readonly line: string;
  readonly headers: Record<string, string>;
  readonly lengthBytes: number;
  /** Resolves when all of the body is here. */
  readonly body: Promise<Buffer>;
  received = 0;
  readonly #pieces: Buffer[] = [];
  #complete!: (body: Buffer) => void;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];

  constructor(socket: net.Socket, connection: number, head: string) {
    const [line = "", ...fields] = head.split("\r\n");
    this.socket = socket;
    this.connection = connection;
    this.line = line;
    this.headers = Object.fromEntries(
      fields.map((field) => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()]),
    );
    this.lengthBytes = Number(this.headers["content-length"]);
    this.body = new Promise((resolve) => (this.#complete = resolve));
    this.take(Buffer.alloc(0));
  }

  /** @returns what belongs to the next request */
  take(bytes: Buffer): Buffer {
    const mine = bytes.subarray(0, this.lengthBytes - this.received);
    this.#pieces.push(mine);
    this.received += mine.length;
    for (const { bytes, resolve } of this.#waiting) if (this.received >= bytes) resolve();
    if (this.received === this.lengthBytes) this.#complete(Buffer.concat(this.#pieces));
    return bytes.subarray(mine.length);
  }

  /** Resolves when so much of the body is here. */
  arrived(bytes: number): Promise<void> {
    if (this.received >= bytes) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ bytes, resolve }));
  }

  raw(text: string): void {
    this.socket.write(text, "latin1");
  }

  ok(headers: Record<string, string> = {}): void {
    this.answer(200, { etag: '"e1"', ...headers });
  }

  answer(status: number, headers: Record<string, string> = {}, body = ""): void {
    const lines = Object.entries({ ...headers, "content-length": String(body.length) });
    this.raw(`HTTP/1.1 ${status} X\r\n${lines.map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n${body}`);
  }

  error(status: number, code: string, message = "told so"): void {
    this.answer(status, {}, `<Error><Code>${code}</Code><Message>${message}</Message></Error>`);
  }
}

/** Told of each request when its head is here. */
export type UploadHandler = (incoming: Incoming) => void | Promise<void>;

export class UploadOrigin implements AsyncDisposable {
  handler: UploadHandler;
  readonly requests: Incoming[] = [];
  connections = 0;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #scheme: string;
  #waiting: { count: number; resolve: () => void }[] = [];

  private constructor(handler: UploadHandler, secure?: { key: string; cert: string }) {
    this.handler = handler;
    this.#scheme = secure ? "https" : "http";
    const accept = (socket: net.Socket): void => this.#accept(socket);
    this.#server = secure ? tls.createServer(secure, accept) : net.createServer(accept);
    this.#server.on("tlsClientError", () => undefined);
  }

  static async start(handler: UploadHandler, secure?: { key: string; cert: string }): Promise<UploadOrigin> {
    const origin = new UploadOrigin(handler, secure);
    origin.#server.listen(0, "127.0.0.1");
    await once(origin.#server, "listening");
    return origin;
  }

  get endpoint(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  /** Resolves with the request of this number, from 1, when its head is here. */
  async request(number: number): Promise<Incoming> {
    if (this.requests.length < number) {
      await new Promise<void>((resolve) => this.#waiting.push({ count: number, resolve }));
    }
    return this.requests[number - 1]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(socket: net.Socket): void {
    const connection = this.connections++;
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
    let rest: Buffer = Buffer.alloc(0);
    let current: Incoming | undefined;
    socket.on("data", (data: Buffer) => {
      rest = Buffer.concat([rest, data]);
      for (;;) {
        if (current) rest = current.take(rest);
        if (current && current.received < current.lengthBytes) return;
        const end = rest.indexOf("\r\n\r\n");
        if (end < 0) return;
        current = new Incoming(socket, connection, rest.toString("latin1", 0, end));
        rest = rest.subarray(end + 4);
        this.#announce(current);
      }
    });
  }

  #announce(incoming: Incoming): void {
    this.requests.push(incoming);
    void this.handler(incoming);
    for (const { count, resolve } of this.#waiting) if (this.requests.length >= count) resolve();
    this.#waiting = this.#waiting.filter(({ count }) => this.requests.length < count);
  }
}
