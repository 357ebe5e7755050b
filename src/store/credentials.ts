/**
 * CredentialSource: one place that knows the credentials of a store, whoever signs with them.
 *
 * What it gives out is plain data (a snapshot), so that it can be posted to worker threads; a thread that meets
 * ExpiredToken asks its owner to `invalidate` the snapshot it used and gets a newer one by `onChange`. The source
 * fetches ahead of expiry, once for everybody, and goes on giving the old ones out while they are still valid.
 *
 * Secrets stay in here: they are never logged, never written, and hidden from inspection (`util.inspect`, JSON).
 */
import { inspect } from "node:util";
import { HawserError } from "../common/errors.ts";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import type { EpochMs, Milliseconds } from "../common/units.ts";
import { SILENT_LOGGER, silenceNodeVersionNotice } from "./sdk-quiet.ts";

/** A snapshot of credentials, as plain data. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** Absent for those that do not expire. */
  readonly expiresMs?: EpochMs | undefined;
}

/** What a library user may give instead of the AWS chain. */
export type CredentialProvider = () => Promise<
  Omit<Credentials, "expiresMs"> & { expiresMs?: EpochMs | undefined; expiration?: Date | undefined }
>;

export interface CredentialOptions {
  /** Fixed ones, a callable, or `anonymous` for unsigned requests. The AWS chain when absent. */
  credentials?: Omit<Credentials, "expiresMs"> | CredentialProvider | "anonymous" | undefined;
  /** A profile of ~/.aws; also takes precedence over AWS_ACCESS_KEY_ID. */
  profile?: string | undefined;
  env?: Readonly<Record<string, string | undefined>> | undefined;
  clock?: Clock | undefined;
}

export interface CredentialSource {
  /** True when requests go unsigned. */
  readonly anonymous: boolean;
  /**
   * Valid credentials, fetched when there are none; undefined when anonymous.
   *
   * @throws HawserError `credentials_missing`, `credentials_expired`
   */
  get(): Promise<Credentials | undefined>;
  /** The present ones without waiting; undefined when none are at hand or they have expired. */
  current(): Credentials | undefined;
  /** The store called these expired: the next `get` fetches others. No-op when they are no longer the present ones. */
  invalidate(stale: Credentials): void;
  /** Calls `listener` with every new snapshot; the returned function ends that. */
  onChange(listener: (fresh: Credentials) => void): () => void;
}

/** Fetch others in the background this long before expiry; instance roles renew theirs 5 minutes ahead as well. */
const RENEW_AHEAD_MS: Milliseconds = 5 * 60_000;
/** Closer to expiry than this, a request may arrive too late: wait for others. */
const TOO_LATE_MS: Milliseconds = 30_000;

type Fetch = (options: { forceRefresh: boolean }) => Promise<Credentials>;

class CachedCredentials implements CredentialSource {
  readonly anonymous = false;
  readonly #fetch: Fetch;
  readonly #clock: Clock;
  readonly #listeners = new Set<(fresh: Credentials) => void>();
  #present: Credentials | undefined;
  #fetching: Promise<Credentials> | undefined;
  #mustDiffer = false;

  constructor(fetch: Fetch, clock: Clock) {
    this.#fetch = fetch;
    this.#clock = clock;
  }

  async get(): Promise<Credentials> {
    const left = this.#leftMs();
    if (left < TOO_LATE_MS) {
      // The last seconds of the old ones are better than none.
      return await this.#renew().catch((error: unknown) => {
        if (this.#leftMs() > 0) return this.#present!;
        throw error;
      });
    }
    if (left < RENEW_AHEAD_MS) this.#renew().catch(() => undefined); // still valid: the next call tries again
    return this.#present!;
  }

  current(): Credentials | undefined {
    return this.#leftMs() > 0 ? this.#present : undefined;
  }

  invalidate(stale: Credentials): void {
    if (this.#present?.accessKeyId !== stale.accessKeyId || this.#present.sessionToken !== stale.sessionToken)
      return;
    this.#present = undefined;
    this.#mustDiffer = true;
  }

  onChange(listener: (fresh: Credentials) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  [inspect.custom](): string {
    return "CredentialSource {}";
  }

  #leftMs(): Milliseconds {
    if (!this.#present) return Number.NEGATIVE_INFINITY;
    const { expiresMs } = this.#present;
    return expiresMs === undefined ? Number.POSITIVE_INFINITY : expiresMs - this.#clock.now();
  }

  #renew(): Promise<Credentials> {
    this.#fetching ??= this.#fetchOnce().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetchOnce(): Promise<Credentials> {
    const fresh = await this.#fetch({ forceRefresh: this.#mustDiffer || this.#present !== undefined });
    this.#mustDiffer = false;
    this.#present = fresh;
    if (this.#leftMs() <= 0) {
      throw new HawserError(
        "credentials_expired",
        "The credentials have expired; renew them (for SSO: aws sso login) and try again.",
      );
    }
    for (const listener of this.#listeners) listener(fresh);
    return fresh;
  }
}

const ANONYMOUS: CredentialSource = {
  anonymous: true,
  get: () => Promise.resolve(undefined),
  current: () => undefined,
  invalidate: () => undefined,
  onChange: () => () => undefined,
};

/** The credentials that these options name. Nothing is fetched before the first `get`. */
export function createCredentialSource(options: CredentialOptions = {}): CredentialSource {
  const { credentials, profile, env = process.env, clock = systemClock } = options;
  if (credentials === "anonymous") return ANONYMOUS;
  if (typeof credentials === "function") {
    return new CachedCredentials(async () => snapshot(await credentials()), clock);
  }
  if (credentials) return new CachedCredentials(() => Promise.resolve(snapshot(credentials)), clock);
  return new CachedCredentials(chain(profile, env), clock);
}

/** The AWS chain: environment, profiles, SSO, web identity, processes, container and instance roles. */
function chain(profile: string | undefined, env: Readonly<Record<string, string | undefined>>): Fetch {
  let provider: ((options: { forceRefresh: boolean }) => Promise<AwsIdentity>) | undefined;
  return async (options) => {
    // Loading the SDK costs a command 100 ms; the most common source does not need it.
    const plain =
      profile === undefined && env["AWS_PROFILE"] === undefined ? fromEnvironment(env) : undefined;
    if (plain) return plain;
    try {
      if (!provider) {
        silenceNodeVersionNotice();
        const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
        provider = fromNodeProviderChain({
          logger: SILENT_LOGGER,
          ...(profile === undefined ? {} : { profile }),
        });
      }
      return snapshot(await provider(options));
    } catch (error) {
      throw credentialError(error, profile);
    }
  };
}

type AwsIdentity = Omit<Credentials, "expiresMs"> & {
  expiration?: Date | undefined;
  expiresMs?: EpochMs | undefined;
};

function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Credentials | undefined {
  const accessKeyId = env["AWS_ACCESS_KEY_ID"];
  const secretAccessKey = env["AWS_SECRET_ACCESS_KEY"];
  if (!accessKeyId || !secretAccessKey) return undefined;
  const expiration = env["AWS_CREDENTIAL_EXPIRATION"];
  return snapshot({
    accessKeyId,
    secretAccessKey,
    sessionToken: env["AWS_SESSION_TOKEN"] || undefined,
    expiration: expiration === undefined ? undefined : new Date(expiration),
  });
}

function snapshot(identity: AwsIdentity): Credentials {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = identity;
  if (!accessKeyId || !secretAccessKey) {
    throw new HawserError("credentials_missing", "The credentials given have no access key id or no secret.");
  }
  const expiresMs = identity.expiresMs ?? expiration?.getTime();
  return { accessKeyId, secretAccessKey, sessionToken, expiresMs };
}

function credentialError(error: unknown, profile: string | undefined): HawserError {
  if (error instanceof HawserError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/expired/i.test(message)) {
    return new HawserError(
      "credentials_expired",
      `The credentials have expired (${message}); renew them (for SSO: aws sso login${profile === undefined ? "" : ` --profile ${profile}`}) and try again.`,
      { cause: error },
    );
  }
  return new HawserError(
    "credentials_missing",
    `No credentials were found${profile === undefined ? "" : ` in profile ${profile}`} (${message}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with --profile, or read a public bucket with --no-sign-request.`,
    { cause: error },
  );
}
