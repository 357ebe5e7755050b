/** A cloud, a project folder in it, and `hawser` as people type it there. */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  DescribeAddressesCommand,
  DescribeKeyPairsCommand,
  DescribeLaunchTemplatesCommand,
  DescribeSecurityGroupsCommand,
  DescribeVolumesCommand,
  EC2Client,
} from "@aws-sdk/client-ec2";
import { IAMClient, ListInstanceProfilesCommand, ListRolesCommand } from "@aws-sdk/client-iam";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll } from "vitest";
import { Cloud } from "./cloud.ts";
import { TEST_BUCKET } from "./dev-s3.ts";
import type { HostOptions } from "./machine.ts";
import type { Ran } from "./run.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));

/** A busy machine plans for minutes what EC2 would answer in seconds. */
const TIMEOUTS = "timeouts: { plan: 5m, mount: 5m }";

/** A program that runs. */
export interface Running {
  child: ChildProcess;
  /** Everything it has said. */
  output(): string;
  /** Settles when it has said so. @throws when it ends without */
  said(pattern: RegExp): Promise<void>;
  ended: Promise<Ran & { signal: NodeJS.Signals | null }>;
}

/** @param child with pipes for what it says */
export function hearing(child: ChildProcess): Running {
  const said = { out: "", err: "" };
  const listeners = new Set<() => void>();
  const hear = (stream: "out" | "err") => (chunk: Buffer) => {
    said[stream] += chunk.toString();
    for (const listener of listeners) listener();
  };
  child.stdout!.on("data", hear("out"));
  child.stderr!.on("data", hear("err"));
  const output = (): string => said.out + said.err;
  const ended = new Promise<Ran & { signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      resolve({ code: code ?? -1, signal, stdout: said.out, stderr: said.err }),
    );
  });
  return {
    child,
    output,
    ended,
    said: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!pattern.test(output())) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
        ended.then(
          ({ code }) => reject(new Error(`It ended with ${code} and never said ${pattern}: ${output()}`)),
          reject,
        );
      }),
  };
}

export class CloudWorld implements AsyncDisposable {
  readonly cloud: Cloud;
  readonly project: string;

  private constructor(cloud: Cloud) {
    this.cloud = cloud;
    this.project = join(cloud.folder, "project");
    mkdirSync(this.project);
  }

  /** AWS has two regions, until a test says otherwise. */
  static async open(): Promise<CloudWorld> {
    const cloud = await Cloud.open();
    cloud.moto.regions = ["us-east-1", "eu-west-1"];
    return new CloudWorld(cloud);
  }

  /**
   * The one world of a test file, from before its first test to after its last. After each test the cloud is as it was
   * before the first, the pool is ended, and the account has nothing left of Hawser.
   *
   * @param setUp keeps it, and puts into it what every test finds
   */
  static forTests(setUp: (world: CloudWorld) => void | Promise<void>): void {
    let world: CloudWorld | undefined;
    let hostOptions: HostOptions = {};
    beforeAll(async () => {
      world = await CloudWorld.open();
      await setUp(world);
      ({ hostOptions } = world.cloud);
    });
    afterAll(() => world?.close());
    afterEach(async () => {
      if (!world) return;
      const { cloud } = world;
      cloud.store.s3.faults.clear();
      cloud.moto.answer = undefined;
      cloud.onAnswered = undefined;
      cloud.onBoot = undefined;
      cloud.hostOptions = hostOptions;
      if (world.hasPool()) await world.hawser("pool", "down", "train");
      await world.expectNothing();
    });
  }

  /** From now on new instances have the worker bundle from their start. */
  async warmUp(): Promise<void> {
    await this.cloud.useBundleImage();
  }

  /** hawser.yaml of two instances with a writable volume, and a read-only one where `data` says so. */
  write(task: string, { pool = "ttl: 1h", nodes = 2, data = true } = {}): void {
    const { url } = this.cloud.store.s3;
    const readOnly = `  - { bucket: ${TEST_BUCKET}, prefix: data/, mount: /mnt/data, endpoint: "${url}" }\n`;
    writeFileSync(
      join(this.project, "hawser.yaml"),
      `volumes:
${data ? readOnly : ""}  - { bucket: ${TEST_BUCKET}, prefix: out/, mount: /mnt/out, mode: writable, endpoint: "${url}" }
pool: { name: train, nodes: ${nodes}, instanceTypes: [m5.large], ami: amazon-linux, address: private, ${TIMEOUTS}, ${pool} }
${task}
`,
    );
  }

  /** Changes hawser.yaml. */
  replaceInFile(from: string, to: string): void {
    const path = join(this.project, "hawser.yaml");
    writeFileSync(path, readFileSync(path, "utf8").replace(from, to));
  }

  /** hawser.yaml with something else in it. @returns its path */
  variant(from: string, to: string): string {
    const text = readFileSync(join(this.project, "hawser.yaml"), "utf8").replace(from, to);
    const path = join(this.project, "variant.yaml");
    writeFileSync(path, text);
    return path;
  }

  /** @param as another user of the account, with records of their own */
  start(args: readonly string[], as?: string): Running {
    const { cloud, project: cwd } = this;
    const env = {
      ...cloud.environment,
      ...(as === undefined ? {} : { HAWSER_POOL_DIR: join(cloud.folder, "pools-of", as) }),
    };
    const child = cloud.spawn(process.execPath, [PROGRAM, ...args], {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    return hearing(child);
  }

  /** Runs a command to its end. */
  hawser(...args: string[]): Promise<Ran> {
    return this.start(args).ended;
  }

  private get poolFolder(): string {
    return join(this.cloud.environment["HAWSER_POOL_DIR"]!, "train");
  }

  /** There is a record of the pool. */
  private hasPool(): boolean {
    return existsSync(this.poolFolder);
  }

  /** The record of the pool is lost; who its owner is stays. */
  loseRecord(): void {
    rmSync(this.poolFolder, { recursive: true });
  }

  /** The record says that the pool's time is over. */
  expire(): void {
    const path = join(this.poolFolder, "pool.json");
    const record = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...record, expiresMs: Date.now() - 1000 }));
  }

  /** What the account has of Hawser, by kind. */
  private async account(): Promise<string[]> {
    await this.cloud.settled();
    const options = {
      endpoint: this.cloud.moto.directUrl,
      region: "us-east-1",
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    };
    const ec2 = new EC2Client(options);
    const iam = new IAMClient(options);
    try {
      const [instances, groups, templates, volumes, addresses, keys, roles, profiles] = await Promise.all([
        this.cloud.inventory(),
        ec2.send(new DescribeSecurityGroupsCommand({})),
        ec2.send(new DescribeLaunchTemplatesCommand({})),
        ec2.send(new DescribeVolumesCommand({})),
        ec2.send(new DescribeAddressesCommand({})),
        ec2.send(new DescribeKeyPairsCommand({})),
        iam.send(new ListRolesCommand({ PathPrefix: "/hawser/" })),
        iam.send(new ListInstanceProfilesCommand({ PathPrefix: "/hawser/" })),
      ]);
      return [
        ...instances.map(({ InstanceId }) => `instance ${InstanceId}`),
        ...groups
          .SecurityGroups!.filter(({ GroupName }) => GroupName !== "default")
          .map(({ GroupName }) => `security group ${GroupName}`),
        ...templates.LaunchTemplates!.map(({ LaunchTemplateName }) => `template ${LaunchTemplateName}`),
        ...volumes.Volumes!.map(({ VolumeId }) => `volume ${VolumeId}`),
        ...addresses.Addresses!.map(({ AllocationId }) => `address ${AllocationId}`),
        ...keys.KeyPairs!.map(({ KeyName }) => `key ${KeyName}`),
        ...roles.Roles!.map(({ RoleName }) => `role ${RoleName}`),
        ...profiles.InstanceProfiles!.map(({ InstanceProfileName }) => `profile ${InstanceProfileName}`),
      ];
    } finally {
      ec2.destroy();
      iam.destroy();
    }
  }

  /** @throws what the account still has of Hawser */
  async expectNothing(): Promise<void> {
    const left = await this.account();
    if (left.length > 0) throw new Error(`The account still has: ${left.join(", ")}`);
  }

  async put(key: string, body: string | Uint8Array): Promise<void> {
    await this.cloud.store.client.send(new PutObjectCommand({ Bucket: TEST_BUCKET, Key: key, Body: body }));
  }

  async get(key: string): Promise<string | undefined> {
    try {
      const { Body } = await this.cloud.store.client.send(
        new GetObjectCommand({ Bucket: TEST_BUCKET, Key: key }),
      );
      return await Body!.transformToString();
    } catch (error) {
      if ((error as Error).name === "NoSuchKey") return undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.cloud.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
