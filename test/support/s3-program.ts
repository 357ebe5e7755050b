/** The program `hawser` in this process, against a dev-s3 of its own: for tests of `hawser s3`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateBucketCommand,
  ListObjectVersionsCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import type { PutObjectCommandInput } from "@aws-sdk/client-s3";
import { vi } from "vitest";
import { run } from "../../src/cli/main.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import type { DevS3Options } from "../../src/devs3/index.ts";
import { TEST_BUCKET, startTestS3, testEnvironment } from "./dev-s3.ts";
import type { TestS3 } from "./dev-s3.ts";

export interface Ran {
  code: number;
  out: string;
  err: string;
  /** What went to standard output as bytes. */
  bytes: Buffer;
  /** Lines of `out` as JSON. */
  json: Record<string, unknown>[];
}

export class S3Program {
  readonly test: TestS3;
  readonly bucket = TEST_BUCKET;
  /** For files of the test; removed at the end. */
  readonly folder = mkdtempSync(join(tmpdir(), "hawser-s3-"));

  constructor(test: TestS3) {
    this.test = test;
  }

  static async start(options?: DevS3Options): Promise<S3Program> {
    const test = await startTestS3(options);
    for (const [name, value] of Object.entries(testEnvironment(test.s3))) vi.stubEnv(name, value);
    return new S3Program(test);
  }

  async close(): Promise<void> {
    vi.unstubAllEnvs();
    rmSync(this.folder, { recursive: true, force: true });
    await this.test.close();
  }

  /** Runs `hawser s3 …`. */
  s3(...argv: string[]): Promise<Ran> {
    return this.run(["s3", ...argv]);
  }

  async run(argv: readonly string[], onLine?: (line: string) => void): Promise<Ran> {
    const lines: string[] = [];
    const errors: string[] = [];
    const chunks: Uint8Array[] = [];
    const terminal: Terminal = {
      out: (line) => {
        lines.push(line);
        onLine?.(line);
      },
      err: (line) => void errors.push(line),
      paint: (_style, text) => text,
      paintErr: (_style, text) => text,
      interactive: false,
      columns: 100,
      verbose: false,
      environment: process.env,
    };
    const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk, ...more: unknown[]) => {
      chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : Buffer.from(chunk));
      const done = more.find((one): one is () => void => typeof one === "function");
      done?.();
      return true;
    });
    try {
      const code = await run(argv, terminal);
      const out = lines.join("\n");
      return {
        code,
        out,
        err: errors.join("\n"),
        bytes: Buffer.concat(chunks),
        get json() {
          const text = out.split("\n").filter((line) => line !== "");
          return text.map((line) => JSON.parse(line) as Record<string, unknown>);
        },
      };
    } finally {
      write.mockRestore();
    }
  }

  async put(key: string, body = "x", more: Partial<PutObjectCommandInput> = {}): Promise<string | undefined> {
    const command = new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: Buffer.from(body), ...more });
    return (await this.test.client.send(command)).VersionId;
  }

  async putAll(...keys: string[]): Promise<void> {
    await Promise.all(keys.map((key) => this.put(key)));
  }

  async keys(bucket = this.bucket): Promise<string[]> {
    const { Contents = [] } = await this.test.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return Contents.map(({ Key }) => Key!);
  }

  async versionCount(): Promise<number> {
    const found = await this.test.client.send(new ListObjectVersionsCommand({ Bucket: this.bucket }));
    return (found.Versions?.length ?? 0) + (found.DeleteMarkers?.length ?? 0);
  }

  async keepVersions(): Promise<void> {
    await this.test.client.send(
      new PutBucketVersioningCommand({
        Bucket: this.bucket,
        VersioningConfiguration: { Status: "Enabled" },
      }),
    );
  }

  async makeBucket(name: string): Promise<void> {
    await this.test.client.send(new CreateBucketCommand({ Bucket: name }));
  }

  /** When the next listing has been answered. */
  async whenListed(): Promise<void> {
    await this.test.s3.requests.next(({ operation }) => operation === "ListObjectsV2");
  }

  uri(key = ""): string {
    return `s3://${this.bucket}${key === "" ? "" : `/${key}`}`;
  }
}
