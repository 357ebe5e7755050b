/** A bed of hosts, dev-s3 on its bridge, and pools over both. Everything is gone at the end, whatever a test did. */
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { PoolEvent } from "../../src/launch/events.ts";
import { Pool } from "../../src/launch/pool.ts";
import type { PoolRequest } from "../../src/launch/pool.ts";
import { parseFile } from "../../src/config/file.ts";
import { TEST_CACHE } from "./bundle-image.ts";
import { TEST_BUCKET, startTestS3, testEnvironment } from "./dev-s3.ts";
import type { TestS3 } from "./dev-s3.ts";
import { HostsBed } from "./hosts-bed.ts";
import type { BedOptions } from "./hosts-bed.ts";

/** A busy machine takes minutes for what takes seconds otherwise. */
export const TIMEOUTS = "  timeouts: { plan: 5m, ssh: 2m, mount: 5m }";

export class PoolWorld implements AsyncDisposable {
  readonly bed: HostsBed;
  readonly server: TestS3;
  readonly events: PoolEvent[] = [];
  private readonly pools: Pool[] = [];

  private constructor(bed: HostsBed, server: TestS3) {
    this.bed = bed;
    this.server = server;
  }

  static async open(options: BedOptions = {}): Promise<PoolWorld> {
    const bed = await HostsBed.open(options);
    try {
      return new PoolWorld(bed, await startTestS3({ host: bed.address }));
    } catch (error) {
      await bed.close();
      throw error;
    }
  }

  /** Of a launcher whose files are this world's alone. The cache of packed bundles is shared: it is named by content. */
  get environment(): Record<string, string> {
    const { PATH = "" } = process.env;
    const home = join(this.bed.folder, "home");
    mkdirSync(home, { recursive: true });
    return {
      ...testEnvironment(this.server.s3),
      HAWSER_POOL_DIR: join(this.bed.folder, "pools"),
      XDG_CACHE_HOME: TEST_CACHE,
      HOME: home,
      PATH,
      NO_COLOR: "1",
    };
  }

  /** hawser.yaml of a pool over every host, with a read-only and a writable volume. */
  yaml(task = "", { pool = "", hosts = this.bed.names }: { pool?: string; hosts?: string[] } = {}): string {
    const { identityFile, knownHostsFile } = this.bed.ssh;
    return `volumes:
  - { bucket: ${TEST_BUCKET}, prefix: data/, mount: /mnt/data, endpoint: "${this.server.s3.url}" }
  - { bucket: ${TEST_BUCKET}, prefix: out/, mount: /mnt/out, mode: writable, endpoint: "${this.server.s3.url}" }
pool:
  name: train
  hosts: [${hosts.join(", ")}]
  ssh: { identityFile: ${identityFile}, knownHostsFile: ${knownHostsFile} }
${pool.includes("timeouts:") ? "" : TIMEOUTS}
${pool}
${task}
`;
  }

  request(yaml = this.yaml()): PoolRequest {
    return { ...parseFile(yaml, "hawser.yaml", {}), baseFolder: this.bed.folder };
  }

  options(more: { signal?: AbortSignal } = {}) {
    return {
      environment: this.environment,
      onEvent: (event: PoolEvent) => void this.events.push(event),
      ...more,
    };
  }

  async up(yaml?: string): Promise<Pool> {
    return this.keep(await Pool.up(this.request(yaml), this.options()));
  }

  keep(pool: Pool): Pool {
    this.pools.push(pool);
    return pool;
  }

  async put(key: string, body: string): Promise<void> {
    await this.server.client.send(new PutObjectCommand({ Bucket: TEST_BUCKET, Key: key, Body: body }));
  }

  async get(key: string): Promise<string | undefined> {
    try {
      const { Body } = await this.server.client.send(new GetObjectCommand({ Bucket: TEST_BUCKET, Key: key }));
      return await Body!.transformToString();
    } catch (error) {
      if ((error as Error).name === "NoSuchKey") return undefined;
      throw error;
    }
  }

  get lines(): string[] {
    return this.events.flatMap((event) => (event.type === "log" ? [`${event.rank}: ${event.line}`] : []));
  }

  get notes(): string[] {
    return this.events.flatMap((event) => (event.type === "note" ? [event.text] : []));
  }

  async close(): Promise<void> {
    for (const pool of this.pools) pool.close();
    await this.bed.close();
    await this.server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
