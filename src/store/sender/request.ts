/** The head of a request with a body, signed. */
import { EMPTY_SHA256, Signer, UNSIGNED_PAYLOAD, canonicalQuery } from "../../common/sigv4.ts";
import type { EpochMs } from "../../common/units.ts";
import { pathOf } from "../endpoint.ts";
import type { Body, Digests } from "./body.ts";
import type { SendSpec, SenderAccess } from "./protocol.ts";

/** Access in the form that requests are written with. */
export class RequestWriter {
  readonly access: SenderAccess;
  readonly #signer: Signer | undefined;

  constructor(access: SenderAccess) {
    this.access = access;
    const { credentials, endpoint } = access;
    this.#signer = credentials && new Signer(credentials, endpoint.region);
  }

  /** Up to and with the empty line; latin1. `now` is this machine's time. */
  write(spec: SendSpec, body: Body, digests: Digests, expect: boolean, now: EpochMs): string {
    const { endpoint, requestPayer, clockOffsetMs } = this.access;
    const path = pathOf(endpoint, spec.key);
    const headers: Record<string, string> = { host: endpoint.host, ...spec.headers };
    if (digests.crc32c !== undefined) headers["x-amz-checksum-crc32c"] = digests.crc32c;
    if (requestPayer) headers["x-amz-request-payer"] = "requester";
    const signed = this.#signer?.sign(
      {
        method: spec.method,
        path,
        query: spec.query,
        headers,
        payloadHash: body.sizeBytes === 0 ? EMPTY_SHA256 : (digests.sha256 ?? UNSIGNED_PAYLOAD),
      },
      now + clockOffsetMs,
    );
    const query = spec.query.length === 0 ? "" : `?${canonicalQuery(spec.query)}`;
    let text = `${spec.method} ${path}${query} HTTP/1.1\r\n`;
    for (const name in headers) text += `${name}: ${headers[name]}\r\n`;
    for (const [name, value] of Object.entries(signed ?? {})) text += `${name}: ${value}\r\n`;
    if (expect) text += "expect: 100-continue\r\n";
    return `${text}content-length: ${body.sizeBytes}\r\n\r\n`;
  }
}
