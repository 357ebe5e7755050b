/** An HTTP server on loopback that answers as each test says, and keeps what it was asked. */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export type Responder = (request: SeenRequest, response: ServerResponse) => void | Promise<void>;

export class ScriptedServer {
  readonly requests: SeenRequest[] = [];
  /** Answers in order; the last one answers all that follow. */
  script: Responder[] = [];
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens, on the port it had before when there was one. */
  async listen(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    server.keepAliveTimeout = 60_000;
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const url = new URL(incoming.url ?? "/", "http://host");
    const [path = ""] = (incoming.url ?? "").split("?");
    const request = {
      method: incoming.method ?? "",
      path,
      query: url.searchParams,
      headers: incoming.headers,
      body: Buffer.concat(chunks),
    };
    this.requests.push(request);
    const responder = this.script[Math.min(this.requests.length, this.script.length) - 1];
    if (!responder) {
      response.writeHead(500).end();
      return;
    }
    await responder(request, response);
  }
}

/** An S3 error document. */
export function s3Error(
  status: number,
  code: string,
  headers: Record<string, string> = {},
  more = "",
): Responder {
  return ({ method }, response) => {
    response.writeHead(status, { "x-amz-request-id": "REQ1", "content-type": "application/xml", ...headers });
    response.end(
      method === "HEAD"
        ? ""
        : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>told so</Message>${more}</Error>`,
    );
  };
}

/** An object as GET and HEAD give it, ranges and If-Match included. */
export function object(bytes: Uint8Array, headers: Record<string, string> = {}): Responder {
  return (request, response) => {
    const etag = headers["etag"] ?? '"abc-1"';
    const ifMatch = request.headers["if-match"];
    if (ifMatch !== undefined && ifMatch !== etag) {
      void s3Error(412, "PreconditionFailed")(request, response);
      return;
    }
    const common = { etag, "last-modified": "Sun, 22 Nov 2026 02:00:00 GMT", ...headers };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const first = range ? Number(range[1]) : 0;
    if (range && first >= bytes.length) {
      void s3Error(416, "InvalidRange")(request, response);
      return;
    }
    const last = range?.[2] ? Math.min(Number(range[2]), bytes.length - 1) : bytes.length - 1;
    const body = bytes.subarray(first, last + 1);
    response.writeHead(range ? 206 : 200, {
      ...common,
      "content-length": String(body.length),
      ...(range ? { "content-range": `bytes ${first}-${last}/${bytes.length}` } : {}),
    });
    response.end(request.method === "HEAD" ? undefined : body);
  };
}

/** The head of the whole answer, some of its bytes, then the connection is cut. */
export function cutObject(bytes: Uint8Array, after: number, headers: Record<string, string> = {}): Responder {
  return (request, response) => {
    const first = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const ranged = request.headers.range !== undefined;
    response.writeHead(ranged ? 206 : 200, {
      etag: '"abc-1"',
      "last-modified": "Sun, 22 Nov 2026 02:00:00 GMT",
      "content-length": String(bytes.length - first),
      ...(ranged ? { "content-range": `bytes ${first}-${bytes.length - 1}/${bytes.length}` } : {}),
      ...headers,
    });
    response.flushHeaders();
    response.write(bytes.subarray(first, first + after), () => response.destroy());
  };
}
