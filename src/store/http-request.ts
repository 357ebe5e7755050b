/**
 * One signed request without a body and with a small answer, over Node's own HTTP client.
 *
 * Listings go this way: the SDK's cost is in parsing what our scanner reads faster, and a command that only lists need
 * not load the SDK at all. So do the small operations that come by the thousand (s3-small.ts). Connections are the site's shared keep-alive ones.
 */
import * as http from "node:http";
import * as https from "node:https";
import { EMPTY_SHA256, canonicalQuery } from "../common/sigv4.ts";
import type { Query } from "../common/sigv4.ts";
import type { Bytes } from "../common/units.ts";
import { decodeEntities } from "./list-xml.ts";
import { pathOf } from "./endpoint.ts";
import { AttemptFailure, answerFailure } from "./failure.ts";
import type { Site } from "./site.ts";

/** Keep-alive connections of one store, for plain and TLS endpoints. */
export interface Agents {
  readonly http: http.Agent;
  readonly https: https.Agent;
}

/** @param connections requests in flight at most; more wait in the agent */
export function createAgents(connections: number): Agents {
  const options = { keepAlive: true, maxSockets: connections, scheduling: "lifo" } as const;
  return { http: new http.Agent(options), https: new https.Agent(options) };
}

export interface SmallRequest {
  method: "GET" | "HEAD" | "DELETE" | "PUT";
  /** The bucket itself when absent. */
  key?: string | undefined;
  query?: Query | undefined;
  /** In lower case. */
  headers?: Readonly<Record<string, string>> | undefined;
  signal: AbortSignal;
}

export interface SmallAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

/** An answer beyond this is no listing. */
const MAX_BODY: Bytes = 64 * 1024 * 1024;

/**
 * Sends one request, once, and collects the answer.
 *
 * @throws AttemptFailure for answers other than 2xx; socket errors as Node gives them
 */
export async function sendSmall(site: Site, agents: Agents, request: SmallRequest): Promise<SmallAnswer> {
  const { endpoint } = site;
  const path = pathOf(endpoint, request.key);
  const query = canonicalQuery(request.query ?? []);
  const headers: Record<string, string> = { host: endpoint.host, ...request.headers };
  if (request.method === "PUT") headers["content-length"] = "0";
  if (site.requestPayer) headers["x-amz-request-payer"] = "requester";
  const signer = await site.signer();
  const signed = signer?.sign(
    { method: request.method, path, query: request.query, headers, payloadHash: EMPTY_SHA256 },
    site.now(),
  );
  const answer = await exchange(
    {
      method: request.method,
      hostname: endpoint.hostname,
      port: endpoint.port,
      path: query === "" ? path : `${path}?${query}`,
      headers: { ...headers, ...signed },
      agent: endpoint.tls ? agents.https : agents.http,
      signal: request.signal,
    },
    endpoint.tls,
  );
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw new AttemptFailure(
    answerFailure(answer.status, answer.headers, parseErrorDocument(answer.body.toString())),
  );
}

function exchange(options: http.RequestOptions, tls: boolean): Promise<SmallAnswer> {
  return new Promise((resolve, reject) => {
    const request = (tls ? https : http).request(options, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MAX_BODY) response.destroy(new Error("the answer is too long"));
      });
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.on("error", reject);
    request.end();
  });
}

/** What an S3 error document says; empty for anything else, such as a proxy's HTML. */
export function parseErrorDocument(xml: string): {
  code?: string;
  message?: string;
  region?: string;
  requestId?: string;
} {
  const found: Record<string, string> = {};
  if (!/<Error[\s>]/.test(xml)) return found;
  for (const [tag, name] of [
    ["Code", "code"],
    ["Message", "message"],
    ["Region", "region"],
    ["RequestId", "requestId"],
  ] as const) {
    const match = new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml);
    if (match) found[name] = decodeEntities(match[1]!);
  }
  return found;
}
