/** From where credentials are said to be, to what the store signs with. */
import { readFile } from "node:fs/promises";
import { HawserError } from "../common/errors.ts";
import { loadConfig } from "../config/file.ts";
import type { Environment } from "../config/interpolate.ts";
import type { CredentialsConfig } from "../config/schema.ts";
import type { CredentialProvider, Credentials } from "../store/credentials.ts";
import type { ObjectStoreOptions } from "../store/s3-store.ts";
import type { CredentialsReference } from "./settings.ts";
import type { Supervisor } from "./supervisor.ts";

export type StoreCredentials = Pick<ObjectStoreOptions, "credentials" | "profile">;

/** For the process of a mount. */
export function resolveReference(reference: CredentialsReference, supervisor: Supervisor): StoreCredentials {
  switch (reference.from) {
    case "profile":
      return { profile: reference.profile };
    case "config":
      return { credentials: keysOfFile(reference.path, reference.volume) };
    case "file":
      return { credentials: () => handedFile(reference.path) };
    case "parent":
      return { credentials: () => supervisor.credentials() };
    default:
      return resolveConfigured(reference.from, process.env);
  }
}

/** What was put into a file in memory: JSON of HandedCredentials. */
async function handedFile(path: string): Promise<Credentials> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Credentials;
  } catch (error) {
    throw new HawserError(
      "credentials_missing",
      `The credentials that were handed to this machine are gone (${(error as NodeJS.ErrnoException).code ?? "damaged"}); mount again from where they came.`,
      { cause: error },
    );
  }
}

/** For a program that opens a volume itself. */
export function resolveConfigured(
  config: CredentialsConfig | undefined,
  environment: Environment,
): StoreCredentials {
  if (config === undefined || config === "default") return {};
  if (config === "anonymous") return { credentials: "anonymous" };
  if (config === "environment") return { credentials: environmentOnly(environment) };
  return "profile" in config ? { profile: config.profile } : { credentials: config };
}

/** Nothing but the environment: a machine's role or profile must not step in where keys are forgotten. */
function environmentOnly(environment: Environment): CredentialProvider {
  return () => {
    const accessKeyId = environment["AWS_ACCESS_KEY_ID"];
    const secretAccessKey = environment["AWS_SECRET_ACCESS_KEY"];
    if (!accessKeyId || !secretAccessKey) {
      return Promise.reject(
        new HawserError(
          "credentials_missing",
          "The volume takes credentials from the environment alone; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
      );
    }
    return Promise.resolve({
      accessKeyId,
      secretAccessKey,
      sessionToken: environment["AWS_SESSION_TOKEN"] || undefined,
    });
  };
}

/** Reads the file each time it is asked, so that keys changed there are found when the old ones expire. */
function keysOfFile(path: string, volume: string): () => Promise<Credentials> {
  return () => {
    try {
      const found = loadConfig(path, process.env).volumes.find(({ name }) => name === volume)?.credentials;
      if (typeof found === "object" && "accessKeyId" in found) return Promise.resolve(found);
      return Promise.reject(
        new HawserError("credentials_missing", `${path} has no keys for the volume '${volume}' any more.`),
      );
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
  };
}
