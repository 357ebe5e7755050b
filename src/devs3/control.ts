/**
 * The control path: steers a server in another process, under `/_hawser/`, which no bucket can be called.
 *
 * Off unless the server was started with `control: true`; it asks for no signature. Bodies and answers are JSON.
 */
import type { IncomingMessage, ServerResponse } from "node:http";

import type { Milliseconds } from "../common/units.ts";
import type { DevCredentials } from "./auth/credentials.ts";
import type { Fault, FaultRule } from "./faults.ts";
import type { DevS3 } from "./server.ts";

const PREFIX = "/_hawser/";
const MAX_BODY_BYTES = 1 << 20;

/** True when the request is for the control path. */
export function isControl(request: IncomingMessage): boolean {
  return request.url?.startsWith(PREFIX) ?? false;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk as string;
    if (text.length > MAX_BODY_BYTES) throw new Error("The body is too large.");
  }
  return text === "" ? {} : (JSON.parse(text) as unknown);
}

function describe(fault: Fault): { id: number; hits: number; rule: FaultRule } {
  return { id: fault.id, hits: fault.hits, rule: fault.rule };
}

type Command = (s3: DevS3, body: never, id: number) => unknown;

/** Method and path; `#` stands for a fault's number. */
const COMMANDS: Record<string, Command> = {
  "GET stats": (s3) => s3.stats(),
  "GET requests": (s3) => s3.requests.records,
  "DELETE requests": (s3) => s3.requests.clear(),
  "GET faults": (s3) => s3.faults.all().map(describe),
  "POST faults": (s3, rule: FaultRule) => describe(s3.faults.add(rule)),
  "DELETE faults": (s3) => s3.faults.clear(),
  "GET faults/#": (s3, _body, id) => describe(faultOf(s3, id)),
  "DELETE faults/#": (s3, _body, id) => faultOf(s3, id).remove(),
  "POST faults/#/release": (s3, _body, id) => faultOf(s3, id).release(),
  "POST pause": (s3, body: { ms?: Milliseconds }) => s3.pauseFor(body.ms ?? 1000),
  "POST clock": (s3, body: { skewMs: Milliseconds }) => s3.setClockSkew(body.skewMs),
  "POST credentials": (s3, credentials: DevCredentials) => s3.credentials.set(credentials),
  "POST synthetic": async (s3, body: { bucket: string; key: string; sizeBytes: number; seed: number }) => ({
    etag: await s3.putSynthetic(body.bucket, body.key, body.sizeBytes, body.seed),
  }),
};

function faultOf(s3: DevS3, id: number): Fault {
  const fault = s3.faults.get(id);
  if (!fault) throw new Error(`There is no fault ${id}.`);
  return fault;
}

export async function handleControl(
  s3: DevS3,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url!.slice(PREFIX.length);
  const id = Number(/\d+/.exec(path)?.[0]);
  const command = COMMANDS[`${request.method} ${path.replace(/\d+/, "#")}`];
  let status = 200;
  let answer: unknown;
  try {
    if (!command) throw new Error(`There is no ${request.method} ${request.url}.`);
    answer = (await command(s3, (await readJson(request)) as never, id)) ?? {};
  } catch (error) {
    status = command ? 400 : 404;
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
}
