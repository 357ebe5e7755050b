/** Raw requests for tests: one HTTP exchange, signed or not, with nothing that an SDK would hide. */
import { request as httpRequest } from "node:http";

import { EMPTY_SHA256, encodePath, sha256Hex, Signer } from "../../../src/common/sigv4.ts";
import { DEFAULT_CREDENTIALS, type DevCredentials, type DevS3 } from "../../../src/devs3/index.ts";

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
  text: string;
  /** The error's code, when the body is an error document. */
  code: string | undefined;
}

export interface RawRequest {
  method?: string;
  /** Decoded, with the leading slash: `/bucket/key`. */
  path: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  /** x-amz-content-sha256; the body's hash when absent. */
  payloadHash?: string;
  /** `null` sends it unsigned. */
  credentials?: DevCredentials | null;
  region?: string;
  nowMs?: number;
}

/** One exchange as given. */
export function exchange(
  s3: Pick<DevS3, "url">,
  method: string,
  target: string,
  headers: Record<string, string>,
  body?: Uint8Array | string,
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(s3.url);
    const request = httpRequest(
      { host: hostname, port, method, path: target, headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const all = Buffer.concat(chunks);
          const text = all.toString("utf8");
          resolve({
            status: response.statusCode!,
            headers: response.headers as Record<string, string>,
            body: all,
            text,
            code: /<Error><Code>(\w+)<\/Code>/.exec(text)?.[1],
          });
        });
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

/** Signs and sends. */
export function send(s3: DevS3, request: RawRequest): Promise<RawAnswer> {
  const { method = "GET", body, credentials = DEFAULT_CREDENTIALS } = request;
  const path = encodePath(request.path);
  const query = Object.entries(request.query ?? {});
  const headers: Record<string, string> = { host: new URL(s3.url).host, ...request.headers };
  if (body !== undefined) headers["content-length"] ??= String(Buffer.byteLength(body));
  if (credentials) {
    const payloadHash = request.payloadHash ?? (body === undefined ? EMPTY_SHA256 : sha256Hex(body));
    const signer = new Signer(credentials, request.region ?? s3.region);
    Object.assign(
      headers,
      signer.sign({ method, path, query, headers, payloadHash }, request.nowMs ?? Date.now()),
    );
  }
  const text = query
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join("&");
  return exchange(s3, method, text === "" ? path : `${path}?${text}`, headers, body);
}

/** Text of the first element with this name. */
export function element(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
}

/** Text of all elements with this name. */
export function elements(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map((match) => match[1]!);
}
