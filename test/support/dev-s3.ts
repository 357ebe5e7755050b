/** dev-s3 for tests: a server in this process, and an SDK client that talks to it. */
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";

import { DEFAULT_CREDENTIALS, startDevS3, type DevS3, type DevS3Options } from "../../src/devs3/index.ts";

/** The bucket that `startTestS3` makes. */
export const TEST_BUCKET = "test-bucket";

export interface TestS3 {
  s3: DevS3;
  client: S3Client;
  bucket: string;
  /** Ends client and server. May be called twice. */
  close(): Promise<void>;
}

/** A server in memory with one bucket, and a client for it. Close it in afterEach or afterAll. */
export async function startTestS3(options: DevS3Options = {}): Promise<TestS3> {
  const bugs: unknown[] = [];
  const s3 = await startDevS3({ buckets: [TEST_BUCKET], onBug: (error) => bugs.push(error), ...options });
  const client = testClient(s3);
  const close = async (): Promise<void> => {
    client.destroy();
    await s3.close();
    // A bug behind an InternalError must not hide in a client's retry.
    if (bugs.length > 0) throw bugs[0];
  };
  return { s3, client, bucket: TEST_BUCKET, close };
}

/** An SDK client without retries, path-style. */
export function testClient(s3: Pick<DevS3, "url" | "region">, config: S3ClientConfig = {}): S3Client {
  return new S3Client({
    endpoint: s3.url,
    region: s3.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: {
      accessKeyId: DEFAULT_CREDENTIALS.accessKeyId,
      secretAccessKey: DEFAULT_CREDENTIALS.secretAccessKey,
    },
    ...config,
  });
}

/** Environment for programs that find S3 by variables: the SDKs, the AWS CLI, s5cmd, the `hawser` program. */
export function testEnvironment(s3: Pick<DevS3, "url" | "region">): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: DEFAULT_CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: DEFAULT_CREDENTIALS.secretAccessKey,
    AWS_REGION: s3.region,
    AWS_DEFAULT_REGION: s3.region,
    AWS_ENDPOINT_URL: s3.url,
    S3_ENDPOINT_URL: s3.url,
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
  };
}
