/**
 * Opening connections: names to addresses, plain or TLS.
 *
 * S3 answers a name with several addresses, each another front end: connections rotate over all of them, and an address
 * that failed is left out for a while, as long as another is left.
 */
import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP } from "node:net";
import type { LookupFunction, Socket } from "node:net";
import { connect as connectTls, createSecureContext, rootCertificates } from "node:tls";
import type { SecureContext } from "node:tls";
import type { Clock } from "../../common/clock.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Dial } from "./connection.ts";

export interface Address {
  address: string;
  family: number;
}

export type Resolve = (hostname: string) => Promise<readonly Address[]>;

export const systemResolve: Resolve = (hostname) => lookup(hostname, { all: true });

/** S3's names live for seconds; asking again this often sees front ends come and go. */
const FRESH_MS: Milliseconds = 30_000;
const BAD_MS: Milliseconds = 30_000;

/** The addresses of a name, in turn. */
export class AddressBook {
  readonly #resolve: Resolve;
  readonly #clock: Clock;
  #hostname = "";
  #addresses: readonly Address[] = [];
  #resolvedAt = 0;
  #turn = 0;
  readonly #badUntil = new Map<string, Milliseconds>();

  constructor(resolve: Resolve, clock: Clock) {
    this.#resolve = resolve;
    this.#clock = clock;
  }

  /** Tells the next address, or what the resolver threw when no older answer is left. */
  async pick(hostname: string, tell: (error: Error | null, picked?: Address) => void): Promise<void> {
    try {
      tell(null, await this.#next(hostname));
    } catch (error) {
      tell(error as Error);
    }
  }

  async #next(hostname: string): Promise<Address> {
    const now = this.#clock.monotonic();
    if (hostname !== this.#hostname) this.#addresses = [];
    if (this.#addresses.length === 0 || now - this.#resolvedAt > FRESH_MS) await this.#refresh(hostname, now);
    const usable = this.#addresses.filter(({ address }) => (this.#badUntil.get(address) ?? 0) <= now);
    const choice = usable.length > 0 ? usable : this.#addresses;
    return choice[this.#turn++ % choice.length]!;
  }

  failed(address: string): void {
    this.#badUntil.set(address, this.#clock.monotonic() + BAD_MS);
  }

  async #refresh(hostname: string, now: Milliseconds): Promise<void> {
    try {
      const addresses = await this.#resolve(hostname);
      if (addresses.length === 0)
        throw Object.assign(new Error(`no address for ${hostname}`), { code: "ENOTFOUND" });
      this.#addresses = addresses;
      this.#hostname = hostname;
      this.#resolvedAt = now;
      this.#badUntil.clear();
    } catch (error) {
      if (this.#addresses.length === 0) throw error;
    }
  }
}

export class Dialer {
  readonly #book: AddressBook;
  readonly #ca: string | undefined;
  #context: SecureContext | undefined;
  /** A resumed session's certificate is not checked against the name again: so it serves that name alone. */
  #session: { hostname: string; data: Buffer } | undefined;

  /** @param ca PEM of an authority to trust besides the well-known ones; absent, NODE_EXTRA_CA_CERTS counts too */
  constructor(book: AddressBook, ca: string | undefined) {
    this.#book = book;
    this.#ca = ca;
  }

  /** How to open one connection to the endpoint. */
  dial(endpoint: Endpoint): Dial {
    return (onread) => {
      let chosen: string | undefined;
      const lookupOne: LookupFunction = (hostname, _options, callback) => {
        void this.#book.pick(hostname, (error, picked) => {
          chosen = picked?.address;
          callback(error, picked?.address ?? "", picked?.family);
        });
      };
      const options = {
        host: endpoint.hostname,
        port: endpoint.port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 30_000,
        autoSelectFamily: false,
        lookup: lookupOne,
        // The type asks for what a fixed buffer's callback gets; with a function the buffer is our own.
        onread: onread as { buffer: () => Uint8Array; callback(bytes: number, buffer: Uint8Array): boolean },
      };
      const socket = endpoint.tls ? this.#tls(endpoint, options) : connectTcp(options);
      const connected = endpoint.tls ? "secureConnect" : "connect";
      const failed = (): void => {
        if (chosen !== undefined) this.#book.failed(chosen);
      };
      socket.once("error", failed);
      socket.once(connected, () => socket.off("error", failed));
      return { socket, connected };
    };
  }

  #tls(endpoint: Endpoint, options: object): Socket {
    const { hostname } = endpoint;
    this.#context ??= createSecureContext(
      this.#ca === undefined ? {} : { ca: [...rootCertificates, this.#ca] },
    );
    const socket = connectTls({
      ...options,
      secureContext: this.#context,
      ALPNProtocols: ["http/1.1"],
      // A name in the certificate is checked against this; addresses are checked as the host and are no SNI.
      ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
      ...(this.#session?.hostname === hostname ? { session: this.#session.data } : {}),
    });
    socket.on("session", (data) => {
      this.#session = { hostname, data };
    });
    return socket;
  }
}
