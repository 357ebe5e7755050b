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
    const query = line.versionId === undefined ? "" : `versionId=${uriEncode(line.versionId)}`;
    const whole = line.first === undefined;
    let text = `GET ${path}${query === "" ? "" : `?${query}`} HTTP/1.1\r\nhost: ${this.#endpoint.host}\r\n`;
    text += "accept-encoding: identity\r\n";
    if (line.etag !== "") text += `if-match: ${quoteEtag(line.etag)}\r\n`;
    if (whole) text += "x-amz-checksum-mode: ENABLED\r\n";
    else text += `range: bytes=${line.first}-${line.last}\r\n`;
    if (this.#target.requestPayer) text += "x-amz-request-payer: requester\r\n";
    return `${text}${this.#signature(path, query, whole)}\r\n`;
  }

  /** Written out, as the headers are always the same: half the cost of a request was building them from a table. */
  #signature(path: string, query: string, whole: boolean): string {
    const signer = this.#signer;
    if (!signer) return "";
    const amzDate = signer.dateOf(this.now());
    const token = this.#credentials?.sessionToken;
    let names = "host";
    let values = `host:${this.#endpoint.host}\n`;
    if (whole) {
      names += ";x-amz-checksum-mode";
      values += "x-amz-checksum-mode:ENABLED\n";
    }
    names += ";x-amz-content-sha256;x-amz-date";
    values += `x-amz-content-sha256:${EMPTY_SHA256}\nx-amz-date:${amzDate}\n`;
    if (this.#target.requestPayer) {
      names += ";x-amz-request-payer";
      values += "x-amz-request-payer:requester\n";
    }
    if (token !== undefined) {
      names += ";x-amz-security-token";
      values += `x-amz-security-token:${token}\n`;
    }
    const canonical = `GET\n${path}\n${query}\n${values}\n${names}\n${EMPTY_SHA256}`;
    const tokenLine = token === undefined ? "" : `x-amz-security-token: ${token}\r\n`;
    return (
      `x-amz-content-sha256: ${EMPTY_SHA256}\r\nx-amz-date: ${amzDate}\r\n${tokenLine}` +
      `authorization: ${signer.authorize(amzDate, names, canonical)}\r\n`
    );
  }
}
