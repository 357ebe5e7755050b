/**
 * Listener: the HTTP server's port, which can go away and come back while the server's state stays.
 *
 * `pause` closes the port and all connections: clients see connection refused, as with an endpoint that is down.
 * `resume` listens on the same port again.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";

export interface ListenerOptions {
  host: string;
  /** 0 picks a free one, which is then kept. */
  port: number;
  tls: { key: string | Buffer; cert: string | Buffer } | undefined;
  onRequest: (request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean) => void;
  onConnect: () => void;
  onDisconnect: () => void;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port: number;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  get port(): number {
    return this.#port;
  }

  get isListening(): boolean {
    return this.#server !== undefined;
  }

  /** No-op while it listens. */
  async open(): Promise<void> {
    if (this.#server) return;
    const { tls, onRequest, host } = this.#options;
    const server: Server = tls ? createTlsServer({ key: tls.key, cert: tls.cert }) : createServer();
    server.on("request", (request: IncomingMessage, response: ServerResponse) =>
      onRequest(request, response, false),
    );
    server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) =>
      onRequest(request, response, true),
    );
    server.on("connection", (socket: Socket) => this.#track(socket));
    server.on("clientError", (_error: Error, socket: Socket) => socket.destroy());
    // A body may take as long as it takes, and an idle client keeps its connection as it does at S3.
    server.requestTimeout = 0;
    server.timeout = 0;
    server.keepAliveTimeout = 120_000;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, host, () => {
        server.off("error", reject);
        resolve();
      });
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Closes port and connections. No-op while it does not listen. */
  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    this.#options.onConnect();
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#options.onDisconnect();
    });
  }
}
