/**
 * Site: one bucket and what was learned about reaching it.
 *
 * It owns the state that survives a request: the region a redirect named, the difference between our clock and the
 * store's, the credentials, and the pace that the store can bear. Everybody who sends requests to the bucket asks the
 * same Site, so that a lesson is learned once.
 */
import { HawserError } from "../common/errors.ts";
import type { Clock } from "../common/clock.ts";
import { Signer } from "../common/sigv4.ts";
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { CredentialSource, Credentials } from "./credentials.ts";
import { isAws, resolveEndpoint } from "./endpoint.ts";
import type { Endpoint, EndpointOptions } from "./endpoint.ts";
import { AttemptFailure, CREDENTIALS_UNAVAILABLE } from "./failure.ts";
import { Pacer } from "./pacer.ts";

export interface SiteOptions extends EndpointOptions {
  credentials: CredentialSource;
  clock: Clock;
  requestPayer?: boolean | undefined;
}

const REGION_NAME = /^[a-z0-9][a-z0-9-]{1,40}$/;

export class Site {
  readonly credentials: CredentialSource;
  readonly clock: Clock;
  readonly pacer: Pacer;
  readonly requestPayer: boolean;
  readonly #options: EndpointOptions;
  #endpoint: Endpoint;
  #clockOffsetMs: Milliseconds = 0;
  #used: Credentials | undefined;
  #signer: Signer | undefined;
  #refusesUnsigned = false;

  constructor(options: SiteOptions) {
    const { credentials, clock, requestPayer, ...where } = options;
    this.credentials = credentials;
    this.clock = clock;
    this.pacer = new Pacer(clock);
    this.requestPayer = requestPayer ?? false;
    this.#options = where;
    this.#endpoint = resolveEndpoint(where);
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  /** What to add to our clock to get the store's. */
  get clockOffsetMs(): Milliseconds {
    return this.#clockOffsetMs;
  }

  /** The time to sign with. */
  now(): EpochMs {
    return this.clock.now() + this.#clockOffsetMs;
  }

  /** A signer for the present credentials and region; undefined when requests go unsigned. */
  async signer(): Promise<Signer | undefined> {
    const credentials = await this.usedCredentials();
    if (!credentials) return undefined;
    if (this.#signer?.credentials !== credentials || this.#signer.region !== this.#endpoint.region) {
      this.#signer = new Signer(credentials, this.#endpoint.region);
    }
    return this.#signer;
  }

  /** The credentials to sign with, remembered so that the store can reject them. */
  async usedCredentials(): Promise<Credentials | undefined> {
    try {
      this.#used = await this.credentials.get();
    } catch (error) {
      throw this.#used && HawserError.is(error, "credentials_missing") ? unavailable(error) : error;
    }
    return this.#used;
  }

  /** The store called these credentials expired; those used last when it is not known which. */
  credentialsExpired(used: Credentials | undefined): void {
    const stale = used ?? this.#used;
    if (stale) this.credentials.invalidate(stale);
  }

  /** True when signatures have to cover the payload: at AWS without TLS, and where the store turned out to want it. */
  get hashesPayloads(): boolean {
    const { tls, hostname } = this.#endpoint;
    if (tls || this.credentials.anonymous) return false;
    return this.#refusesUnsigned || isAws(hostname);
  }

  /** The store took a payload only with its hash. */
  hashPayloads(): void {
    this.#refusesUnsigned = true;
  }

  /** Takes the store's time from its Date header. False when there is none to take. */
  correctClock(date: string | undefined): boolean {
    const server = date === undefined ? Number.NaN : Date.parse(date);
    if (Number.isNaN(server)) return false;
    this.#clockOffsetMs = server - this.clock.now();
    return true;
  }

  /** Goes to the region that a redirect named. False when we are there already or the endpoint is not by region. */
  moveTo(region: string | undefined): boolean {
    // The name comes from an answer and goes into a host name.
    if (region === undefined || region === this.#endpoint.region || !REGION_NAME.test(region)) return false;
    const own = this.#options.endpoint;
    const moved = resolveEndpoint({
      ...this.#options,
      region,
      endpoint: own === undefined ? undefined : inRegion(own, this.#endpoint.region, region),
    });
    this.#endpoint = moved;
    return true;
  }
}

/** What had credentials before has a source that is out of reach for now, such as an instance's metadata service. */
function unavailable(error: HawserError): AttemptFailure {
  const { cause } = error;
  const message = cause instanceof Error ? cause.message : error.message;
  return new AttemptFailure({ kind: "network", code: CREDENTIALS_UNAVAILABLE, message, cause: error });
}

/** An endpoint that names the old region, as AWS's own do, names the new one instead; others stay and sign for it. */
function inRegion(endpoint: string, from: string, to: string): string {
  const url = new URL(endpoint);
  url.hostname = url.hostname
    .split(".")
    .map((label) => (label === from ? to : label))
    .join(".");
  return url.href;
}
