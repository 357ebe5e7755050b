/**
 * A proxy that cuts a connection at a byte: of a request on its way to the server, or of its answer.
 *
 * It looks at the first bytes of each request only, which begin a chunk: a client sends nothing on a connection before the
 * answer to what it sent last. Both sides see the connection end, and neither anything behind the byte.
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { once } from "node:events";

export type Direction = "up" | "down";

/** Bytes of one message: its head with the empty line, and everything. */
export interface MessageSizes {
  head: number;
  total: number;
}

interface Rule {
  /** What the request begins with, e.g. `GET /bucket/key`. */
  start: string;
  direction: Direction;
  /** Lets so many bytes pass; all when absent. */
  bytes: number | undefined;
  resolve: (sizes: MessageSizes) => void;
}

export class CuttingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #rule: Rule | undefined;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async before(target: string): Promise<CuttingProxy> {
    const { hostname, port } = new URL(target);
    const server = createServer({ noDelay: true }, (client) =>
      proxy.join(client, connect({ host: hostname, port: Number(port), noDelay: true })),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new CuttingProxy(server);
    return proxy;
  }

  /** Cuts the next such request, or its answer, behind so many bytes. Resolves when it is cut. */
  async cut(start: string, direction: Direction, bytes: number): Promise<void> {
    await new Promise((resolve) => (this.#rule = { start, direction, bytes, resolve }));
  }

  /** Sizes of the next such request, or of its answer. */
  sizes(start: string, direction: Direction): Promise<MessageSizes> {
    return new Promise((resolve) => (this.#rule = { start, direction, bytes: undefined, resolve }));
  }

  /** Carries the bytes of a connection. */
  join(client: Socket, server: Socket): void {
    let rule: Rule | undefined;
    const passed = { up: 0, down: 0 };
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    const carry = (direction: Direction, chunk: Buffer, to: Socket): void => {
      if (rule?.direction !== direction) return void to.write(chunk);
      const { bytes, resolve } = rule;
      if (bytes === undefined) {
        rule = undefined;
        resolve(sizesOf(chunk));
        return void to.write(chunk);
      }
      const left = bytes - passed[direction];
      passed[direction] += chunk.length;
      if (chunk.length < left) return void to.write(chunk);
      rule = undefined;
      resolve({ head: 0, total: bytes });
      if (left === 0) end();
      else to.write(chunk.subarray(0, left), end);
    };
    client.on("data", (chunk: Buffer) => {
      const wanted = this.#rule;
      if (wanted && chunk.toString("latin1", 0, wanted.start.length) === wanted.start) {
        this.#rule = undefined;
        rule = wanted;
        passed.up = passed.down = 0;
      }
      carry("up", chunk, server);
    });
    server.on("data", (chunk: Buffer) => carry("down", chunk, client));
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", end);
      socket.on("end", end);
      socket.on("close", () => void this.#sockets.delete(socket));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** Of a message whose head is in its first chunk. */
function sizesOf(chunk: Buffer): MessageSizes {
  const head = chunk.indexOf("\r\n\r\n") + 4;
  if (head < 4) throw new Error("the head did not arrive at once");
  const length = /^content-length: *(\d+)/im.exec(chunk.toString("latin1", 0, head))?.[1];
  return { head, total: head + Number(length ?? 0) };
}
