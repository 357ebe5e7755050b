/**
 * What every request needs to be let in: the endpoint, the credentials, the clock's offset, the region. All of them may
 * turn out to be wrong while requests are under way, and are corrected here, once for all.
 *
 * `generation` counts the changes: a request that failed under an older generation is simply sent again.
 */
import { EMPTY_SHA256, Signer, uriEncode } from "../../common/sigv4.ts";
import type { Clock } from "../../common/clock.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Credentials } from "../credentials.ts";
import { pathOf, resolveEndpoint } from "../endpoint.ts";
import type { Endpoint } from "../endpoint.ts";
import { quoteEtag } from "../etag.ts";
import { inRegion } from "./target.ts";
import type { ReaderTarget } from "./target.ts";

/** Below this, a difference is latency and not skew. */
const SKEW_THAT_MATTERS: Milliseconds = 60_000;

/** One GET to write. */
export interface GetLine {
  key: string;
  versionId: string | undefined;
  etag: string;
  /** First and last byte; undefined asks for the whole object, with its checksum. */
  first: number | undefined;
  last: number;
}

export class Access {
  readonly #clock: Clock;
  #target: ReaderTarget;
  #endpoint: Endpoint;
  readonly anonymous: boolean;
  #credentials: Credentials | undefined;
  #signer: Signer | undefined;
  #offset: Milliseconds = 0;
  #generation = 0;

  /** Unless anonymous, nothing can be written before `useCredentials`. */
  constructor(target: ReaderTarget, anonymous: boolean, clock: Clock) {
    this.anonymous = anonymous;
    this.#clock = clock;
    this.#target = target;
    this.#endpoint = resolveEndpoint(target);
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  get generation(): number {
    return this.#generation;
  }

  /** False while the credentials are not there yet. */
  get ready(): boolean {
    return this.anonymous || this.#signer !== undefined;
  }

  /** This machine's time as corrected by the store's. */
  now(): number {
    return this.#clock.now() + this.#offset;
  }

  useCredentials(credentials: Credentials): void {
    this.#credentials = credentials;
    this.#signer = new Signer(credentials, this.#endpoint.region);
    this.#generation++;
  }

  /** @returns false when that is where it was sought already */
  useRegion(region: string): boolean {
    if (region === this.#endpoint.region || !/^[a-z0-9-]{1,40}$/.test(region)) return false;
    this.#target = inRegion(this.#target, this.#endpoint.region, region);
    this.#endpoint = resolveEndpoint(this.#target);
    if (this.#credentials) this.#signer = new Signer(this.#credentials, region);
    this.#generation++;
    return true;
  }

  /** @returns false when the clocks agree, so that something else is wrong */
  useServerDate(date: string | undefined): boolean {
    const server = date === undefined ? Number.NaN : Date.parse(date);
    if (Number.isNaN(server) || Math.abs(server - this.now()) < SKEW_THAT_MATTERS) return false;
    this.#offset = server - this.#clock.now();
    this.#generation++;
    return true;
  }

  /** The bytes of a request, up to and with the empty line. ASCII. */
  write(line: GetLine): string {
    const path = pathOf(this.#endpoint, line.key);
    const whole = line.first === undefined;
    let text = "";
    if (line.etag !== "") text += `if-match: ${quoteEtag(line.etag)}\r\n`;
    if (!whole) text += `range: bytes=${line.first}-${line.last}\r\n`;
    if (this.#signer) text += this.#signed(path, line.versionId, whole);
    else text += this.#unsigned(whole);
    const query = line.versionId === undefined ? "" : `?versionId=${uriEncode(line.versionId)}`;
    return `GET ${path}${query} HTTP/1.1\r\nhost: ${this.#endpoint.host}\r\naccept-encoding: identity\r\n${text}\r\n`;
  }

  #amzHeaders(whole: boolean): Record<string, string> {
    const headers: Record<string, string> = {};
    if (whole) headers["x-amz-checksum-mode"] = "ENABLED";
    if (this.#target.requestPayer) headers["x-amz-request-payer"] = "requester";
    return headers;
  }

  #unsigned(whole: boolean): string {
    return headerLines(this.#amzHeaders(whole));
  }

  #signed(path: string, versionId: string | undefined, whole: boolean): string {
    const headers = this.#amzHeaders(whole);
    const query = versionId === undefined ? undefined : [["versionId", versionId] as const];
    const signature = this.#signer!.sign(
      {
        method: "GET",
        path,
        query,
        headers: { host: this.#endpoint.host, ...headers },
        payloadHash: EMPTY_SHA256,
      },
      this.now(),
    );
    return headerLines(headers) + headerLines(signature);
  }
}

function headerLines(headers: object): string {
  let text = "";
  for (const [name, value] of Object.entries(headers)) text += `${name}: ${value}\r\n`;
  return text;
}
