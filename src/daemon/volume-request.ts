/** What a program asks for: the keys of hawser.yaml, with credentials that may be a function. */
import { HawserError } from "../common/errors.ts";
import type { CredentialsConfig, VolumeInput } from "../config/schema.ts";
import type { CredentialProvider } from "../store/credentials.ts";
import type { HandedCredentials } from "./supervisor.ts";

export interface VolumeOptions extends Omit<VolumeInput, "credentials"> {
  /**
   * Where credentials come from, the keys themselves, or a function that gives them. The function is called again
   * before they expire; what it gives stays in memory, also on its way to a mount's process.
   */
  credentials?: CredentialsConfig | CredentialProvider | undefined;
}

/** Options as the schema takes them, and the function, which the schema knows nothing of. */
export function splitCredentials<T extends Pick<VolumeOptions, "credentials">>(
  options: T,
): {
  raw: Omit<T, "credentials"> & { credentials?: CredentialsConfig };
  provider: CredentialProvider | undefined;
} {
  const { credentials, ...rest } = options;
  if (typeof credentials === "function") return { raw: rest, provider: credentials };
  return { raw: credentials === undefined ? rest : { ...rest, credentials }, provider: undefined };
}

/** How this process hands credentials to a mount's process: only what cannot be named by a reference. */
export function handOver(
  credentials: CredentialsConfig | undefined,
  provider: CredentialProvider | undefined,
): (() => Promise<HandedCredentials>) | undefined {
  if (provider) {
    return async () => {
      const given = await provider();
      const { accessKeyId, secretAccessKey, sessionToken, expiresMs, expiration } = given;
      if (!accessKeyId || !secretAccessKey) {
        throw new HawserError(
          "credentials_missing",
          "The credentials function gave no access key id or no secret.",
        );
      }
      return { accessKeyId, secretAccessKey, sessionToken, expiresMs: expiresMs ?? expiration?.getTime() };
    };
  }
  if (typeof credentials === "object" && "accessKeyId" in credentials)
    return () => Promise.resolve(credentials);
  return undefined;
}
