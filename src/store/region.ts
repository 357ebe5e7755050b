/**
 * Region and endpoint from where AWS tools look for them: option, environment, profile.
 *
 * Only `region` and `endpoint_url` are read from ~/.aws/config here; credentials are the credential chain's business.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ProfileSettings {
  region?: string | undefined;
  endpointUrl?: string | undefined;
}

/** The settings of one profile in the text of an AWS config file. */
export function parseProfile(text: string, profile: string): ProfileSettings {
  const settings: ProfileSettings = {};
  let inside = false;
  let nested: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(?:profile\s+)?(["']?)([^\]"']+)\1\s*\]/.exec(line);
    if (section) {
      inside = section[2]!.trim() === profile;
      nested = undefined;
      continue;
    }
    const pair = /^(\s*)([A-Za-z0-9_-]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (!inside || !pair) continue;
    const [, indent, name, value] = pair;
    // `s3 =` opens a block of indented settings that are not the profile's own.
    if (indent === "") nested = value === "" ? name : undefined;
    else if (nested !== undefined) continue;
    if (name === "region" && value) settings.region = value;
    if (name === "endpoint_url" && value) settings.endpointUrl = value;
  }
  return settings;
}

/** Reads the profile's settings; a missing file has none. */
export async function readProfile(env: Environment, profile?: string): Promise<ProfileSettings> {
  const path = env["AWS_CONFIG_FILE"] ?? join(env["HOME"] ?? homedir(), ".aws", "config");
  try {
    return parseProfile(await readFile(path, "utf8"), profile ?? env["AWS_PROFILE"] ?? "default");
  } catch {
    return {};
  }
}

/** The region to start with: the option, then the environment, then the profile. A redirect may correct it later. */
export async function resolveRegion(
  option: string | undefined,
  env: Environment,
  profile?: string,
): Promise<string | undefined> {
  const near = option || env["AWS_REGION"] || env["AWS_DEFAULT_REGION"];
  return near || (await readProfile(env, profile)).region;
}

/** The endpoint to use: the option, then the environment (unless told to ignore it), then the profile. */
export async function resolveEndpointUrl(
  option: string | undefined,
  env: Environment,
  profile?: string,
): Promise<string | undefined> {
  if (option) return option;
  if (env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true") return undefined;
  const near = env["AWS_ENDPOINT_URL_S3"] || env["AWS_ENDPOINT_URL"];
  return near || (await readProfile(env, profile)).endpointUrl;
}
