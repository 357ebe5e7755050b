/**
 * Clients of EC2, IAM and SSM in one region. The SDK takes 300 ms to load, so each part of it is loaded with the first
 * request that needs it.
 */
import { setMaxListeners } from "node:events";
import type { EC2Client } from "@aws-sdk/client-ec2";
import type { IAMClient } from "@aws-sdk/client-iam";
import type { SSMClient } from "@aws-sdk/client-ssm";
import { HawserError } from "../../common/errors.ts";
import type { Environment } from "../../config/interpolate.ts";
import { createCredentialSource } from "../../store/credentials.ts";
import type { CredentialSource } from "../../store/credentials.ts";
import { readProfile, resolveRegion } from "../../store/region.ts";
import { SILENT_LOGGER, silenceNodeVersionNotice } from "../../store/sdk-quiet.ts";
import type { RecordedVolume } from "../pool-record.ts";
import { explainError } from "./errors.ts";

type Ec2Sdk = typeof import("@aws-sdk/client-ec2");
type IamSdk = typeof import("@aws-sdk/client-iam");
type SsmSdk = typeof import("@aws-sdk/client-ssm");

/** What a client is made with. */
interface ClientConfig {
  region: string;
  endpoint?: string;
  credentials: () => Promise<{ accessKeyId: string; secretAccessKey: string; sessionToken?: string }>;
  logger: typeof SILENT_LOGGER;
  maxAttempts: number;
}

const ATTEMPTS = 4;

export class Clients implements Disposable {
  readonly region: string;
  private readonly environment: Environment;
  private readonly signal: AbortSignal;
  private readonly credentials: CredentialSource;
  private readonly made: { destroy(): void }[] = [];
  private ec2Parts: Promise<{ sdk: Ec2Sdk; client: EC2Client }> | undefined;
  private iamParts: Promise<{ sdk: IamSdk; client: IAMClient }> | undefined;
  private ssmParts: Promise<{ sdk: SsmSdk; client: SSMClient }> | undefined;

  constructor(region: string, environment: Environment, signal: AbortSignal) {
    this.region = region;
    this.environment = environment;
    this.signal = signal;
    // The SDK listens anew for every request; Node would warn of the eleventh.
    setMaxListeners(0, signal);
    this.credentials = createCredentialSource({ env: environment });
  }

  /** @throws HawserError as errors.ts has it */
  async ec2<T>(
    action: string,
    call: (client: EC2Client, sdk: Ec2Sdk, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    silenceNodeVersionNotice();
    this.ec2Parts ??= import("@aws-sdk/client-ec2").then(async (sdk) => ({
      sdk,
      client: this.keep(new sdk.EC2Client(await this.config("EC2"))),
    }));
    const { sdk, client } = await this.ec2Parts;
    return await this.explained(`ec2:${action}`, () => call(client, sdk, { abortSignal: this.signal }));
  }

  async iam<T>(
    action: string,
    call: (client: IAMClient, sdk: IamSdk, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    silenceNodeVersionNotice();
    this.iamParts ??= import("@aws-sdk/client-iam").then(async (sdk) => ({
      sdk,
      client: this.keep(new sdk.IAMClient(await this.config("IAM"))),
    }));
    const { sdk, client } = await this.iamParts;
    return await this.explained(`iam:${action}`, () => call(client, sdk, { abortSignal: this.signal }));
  }

  async ssm<T>(
    action: string,
    call: (client: SSMClient, sdk: SsmSdk, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    silenceNodeVersionNotice();
    this.ssmParts ??= import("@aws-sdk/client-ssm").then(async (sdk) => ({
      sdk,
      client: this.keep(new sdk.SSMClient(await this.config("SSM"))),
    }));
    const { sdk, client } = await this.ssmParts;
    return await this.explained(`ssm:${action}`, () => call(client, sdk, { abortSignal: this.signal }));
  }

  [Symbol.dispose](): void {
    for (const client of this.made.splice(0)) client.destroy();
  }

  private keep<T extends { destroy(): void }>(client: T): T {
    this.made.push(client);
    return client;
  }

  private async explained<T>(action: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (this.signal.aborted) this.signal.throwIfAborted();
      throw explainError(error, action, this.region);
    }
  }

  private async config(service: string): Promise<ClientConfig> {
    const { environment, credentials } = this;
    const endpoint =
      environment[`AWS_ENDPOINT_URL_${service}`] ??
      environment["AWS_ENDPOINT_URL"] ??
      (await readProfile(environment)).endpointUrl;
    return {
      region: this.region,
      ...(endpoint ? { endpoint } : {}),
      credentials: async () => {
        const { accessKeyId, secretAccessKey, sessionToken } = (await credentials.get())!;
        return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
      },
      logger: SILENT_LOGGER,
      maxAttempts: ATTEMPTS,
    };
  }
}

/** What a service said by name, below a HawserError. */
export function serviceCode(error: unknown): string | undefined {
  const cause = error instanceof Error ? (error.cause ?? error) : undefined;
  return cause instanceof Error ? cause.name : undefined;
}

/** The value, or `undefined` where the service says one of these names. */
export async function unless<T>(names: readonly string[], call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (names.includes(serviceCode(error) ?? "")) return undefined;
    throw error;
  }
}

type PlacedVolume = Pick<RecordedVolume, "region" | "storage" | "endpoint">;

/** Another store's region says nothing of EC2's. An endpoint for every service at once is a stand-in for AWS. */
export function isOfAws({ storage = "s3", endpoint }: PlacedVolume, environment: Environment): boolean {
  if (storage !== "s3") return false;
  if (endpoint === undefined || endpoint === environment["AWS_ENDPOINT_URL"]) return true;
  return /^https?:\/\/[^/]*\.amazonaws\.com(?:\.cn)?(?:\/|$)/.test(endpoint);
}

/** Where a pool runs: as configured, where its volumes are, or what AWS tools use. @throws HawserError `invalid_argument` */
export async function poolRegion(
  configured: string | undefined,
  volumes: readonly PlacedVolume[],
  environment: Environment,
): Promise<string> {
  const region =
    configured ??
    volumes.find((volume) => volume.region !== undefined && isOfAws(volume, environment))?.region ??
    (await resolveRegion(undefined, environment));
  if (region) return region;
  throw new HawserError(
    "invalid_argument",
    "No region is known for the pool; write region: eu-central-1, or set AWS_REGION.",
  );
}
