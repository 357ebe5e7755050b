/** Looking at the volumes before any machine is started: bucket, prefix and credentials, with one LIST each. */
import type { HawserError } from "../common/errors.ts";
import { toHawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Environment } from "../config/interpolate.ts";
import { volumeUrl } from "../config/volume.ts";
import { createObjectStore } from "../store/s3-store.ts";
import type { RecordedVolume } from "./pool-record.ts";
import type { VolumeCredentials } from "./volume-credentials.ts";

const ANSWER_MS: Milliseconds = 10_000;

export interface CheckedVolume {
  /** With the endpoint and region that this machine's environment and the store's answer give. */
  volume: RecordedVolume;
  empty: boolean;
}

/** @throws HawserError what the store answers, with the volume's name */
export async function checkVolume(
  volume: RecordedVolume,
  credentials: VolumeCredentials,
  environment: Environment,
  signal: AbortSignal,
): Promise<CheckedVolume> {
  const { bucket, storage, region, addressing, accountId, requesterPays, prefix } = volume;
  const endpoint = volume.endpoint ?? environment["AWS_ENDPOINT_URL_S3"] ?? environment["AWS_ENDPOINT_URL"];
  const source = credentials.source(volume.name);
  const store = await createObjectStore({
    bucket,
    storage,
    region,
    endpoint,
    addressing,
    accountId,
    requestPayer: requesterPays,
    ...(source ? { credentials: source } : {}),
  });
  try {
    const page = await store.list(
      { prefix, maxKeys: 1 },
      { reason: "metadata", signal, deadlineMs: ANSWER_MS },
    );
    return {
      volume: { ...volume, ...(endpoint === undefined ? {} : { endpoint }), region: store.endpoint.region },
      empty: page.objects.length === 0 && page.prefixes.length === 0,
    };
  } catch (error) {
    throw named(toHawserError(error), volume);
  } finally {
    await store.close();
  }
}

function named(error: HawserError, volume: RecordedVolume): HawserError {
  const { code, message, s3Code, requestId, httpStatus, bucket, key } = error;
  const named = `Volume '${volume.name}' (${volumeUrl(volume)}): ${message}`;
  return new (error.constructor as typeof HawserError)(code, named, {
    cause: error,
    s3Code,
    requestId,
    httpStatus,
    bucket,
    key,
  });
}
