/**
 * Who may do what: the keys the server knows, and the policy asked before each operation.
 *
 * Tests change both while the server runs: a credential can expire, be rotated or vanish between two requests.
 */
import type { EpochMs } from "../../common/units.ts";

export interface DevCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  /** When set, requests must carry it. */
  sessionToken?: string | undefined;
  /** From then on requests get ExpiredToken. */
  expiresAtMs?: EpochMs | undefined;
}

/** What the embedded server accepts when nothing else is said. No secret: it guards nothing. */
export const DEFAULT_CREDENTIALS: DevCredentials = {
  accessKeyId: "hawser",
  secretAccessKey: "hawser-dev-secret",
};

/** What a policy is asked. */
export interface PolicyQuestion {
  /** Undefined for anonymous requests. */
  accessKeyId: string | undefined;
  /** As IAM names it, e.g. `s3:GetObject`. */
  action: string;
  bucket: string | undefined;
  /** The key; for listings the prefix. */
  key: string | undefined;
}

/** True allows. */
export type Policy = (question: PolicyQuestion) => boolean;

export class CredentialStore {
  readonly #byId = new Map<string, DevCredentials>();
  /** Counts changes, so that derived keys can be remembered. */
  generation = 0;

  constructor(credentials: readonly DevCredentials[]) {
    for (const one of credentials) this.set(one);
  }

  get(accessKeyId: string): DevCredentials | undefined {
    return this.#byId.get(accessKeyId);
  }

  /** Adds or replaces. */
  set(credentials: DevCredentials): void {
    this.generation++;
    this.#byId.set(credentials.accessKeyId, { ...credentials });
  }

  remove(accessKeyId: string): void {
    this.generation++;
    this.#byId.delete(accessKeyId);
  }

  /** Makes the session expire at a time (now when absent in practice: pass the server's clock). */
  expire(accessKeyId: string, expiresAtMs: EpochMs): void {
    const found = this.#byId.get(accessKeyId);
    if (found) this.set({ ...found, expiresAtMs });
  }
}
