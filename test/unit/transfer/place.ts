/** A bucket, a folder, and a connection between them: what tests of copies stand on. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { vi } from "vitest";
import { DEFAULT_CREDENTIALS, startDevS3 } from "../../../src/devs3/index.ts";
import type { DevS3, DevS3Options } from "../../../src/devs3/index.ts";
import type { ListedObject, PutOptions } from "../../../src/store/object-store.ts";
import type { S3Store } from "../../../src/store/s3-store.ts";
import { Connection } from "../../../src/transfer/connection.ts";
import type { ConnectionOptions } from "../../../src/transfer/connection.ts";
import type { TransferEvent, TransferSummary } from "../../../src/transfer/events.ts";
import { listObjects } from "../../../src/transfer/listing.ts";

export const MiB = 1024 * 1024;

export type Engine = "lean" | "sdk";
export const ENGINES: readonly Engine[] = ["lean", "sdk"];

export class Place implements AsyncDisposable {
  readonly s3: DevS3;
  readonly connection: Connection;
  readonly folder: string;
  readonly #options: ConnectionOptions;
  readonly #others: Connection[] = [];

  private constructor(s3: DevS3, options: ConnectionOptions) {
    this.s3 = s3;
    this.folder = mkdtempSync(join(tmpdir(), "hawser-transfer-"));
    // What is remembered of uploads and syncs must not outlive the test.
    process.env["HAWSER_STATE_DIR"] = join(this.folder, ".state");
    this.#options = options;
    this.connection = new Connection(options);
  }

  static async open(engine: Engine, server: DevS3Options = {}, more: ConnectionOptions = {}): Promise<Place> {
    const s3 = await startDevS3({ buckets: ["data", "other"], ...server });
    const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
    return new Place(s3, {
      endpoint: s3.url,
      region: s3.region,
      credentials: { accessKeyId, secretAccessKey },
      engine,
      partSizeBytes: 5 * MiB,
      concurrency: 8,
      memoryBytes: 48 * MiB,
      env: {},
      ...more,
    });
  }

  /** What another run of the program has. */
  another(more: ConnectionOptions = {}): Connection {
    const connection = new Connection({ ...this.#options, ...more });
    this.#others.push(connection);
    return connection;
  }

  store(bucket = "data"): Promise<S3Store> {
    return this.connection.store(bucket);
  }

  async put(
    key: string,
    content: string | Uint8Array,
    options: PutOptions & { bucket?: string } = {},
  ): Promise<void> {
    const store = await this.store(options.bucket);
    await store.put(key, Buffer.from(content), options);
  }

  /** An object of parts, as large uploads are. */
  async putInParts(key: string, content: Buffer, partBytes = 5 * MiB): Promise<void> {
    const store = await this.store();
    const { uploadId } = await store.createMultipart(key);
    const parts = [];
    for (let at = 0; at < content.length; at += partBytes) {
      const bytes = content.subarray(at, at + partBytes);
      parts.push(await store.uploadPart(key, uploadId, parts.length + 1, bytes));
    }
    await store.completeMultipart(key, uploadId, parts);
  }

  async get(key: string, bucket = "data"): Promise<Buffer> {
    const { body } = await (await this.store(bucket)).getStream({ key });
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async objects(prefix = "", bucket = "data"): Promise<ListedObject[]> {
    const found: ListedObject[] = [];
    for await (const page of listObjects(await this.store(bucket), prefix)) found.push(...page);
    return found;
  }

  async keys(prefix = "", bucket = "data"): Promise<string[]> {
    return (await this.objects(prefix, bucket)).map(({ key }) => key);
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  /** Writes a local file. @returns its path */
  file(path: string, content: string | Uint8Array, mtimeMs?: number): string {
    const full = this.path(path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
    if (mtimeMs !== undefined) utimesSync(full, mtimeMs / 1000, mtimeMs / 1000);
    return full;
  }

  read(path: string): Buffer {
    return readFileSync(this.path(path));
  }

  mtime(path: string): number {
    return statSync(this.path(path)).mtimeMs;
  }

  /** All files below a folder, hidden ones as well, sorted. */
  files(folder = ""): string[] {
    return readdirSync(this.path(folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.path(folder).length + 1))
      .filter((path) => !path.startsWith(".state/"))
      .sort();
  }

  /** Requests of one operation that were answered and heard. */
  requests(operation: string): number {
    return this.s3.requests.records.filter((record) => record.operation === operation && record.completed)
      .length;
  }

  /** Resolves when the server has nothing under way. */
  async quiet(): Promise<void> {
    await vi.waitFor(() => {
      if (this.s3.stats().inFlight.now > 0) throw new Error("requests are under way");
    }, 30_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
    await Promise.all(this.#others.map((other) => other.close()));
    await this.s3.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs as a user whom permissions hold back, where the tests run as root. */
export async function asNobody<T>(place: Place, work: () => Promise<T>): Promise<T> {
  if (process.getuid!() !== 0) return await work();
  chmodSync(place.folder, 0o755);
  process.seteuid!(65_534);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}

/** Collects what a job tells. */
export function listening(): { events: TransferEvent[]; onEvent: (event: TransferEvent) => void } {
  const events: TransferEvent[] = [];
  return { events, onEvent: (event) => events.push(event) };
}

/** The counts of a summary that are not zero. */
export function counts(summary: TransferSummary): Record<string, number> {
  const names = ["downloaded", "uploaded", "copied", "deleted", "skipped", "failed"] as const;
  return Object.fromEntries(names.flatMap((name) => (summary[name] > 0 ? [[name, summary[name]]] : [])));
}

/** Code by source of what failed. */
export function failures(summary: TransferSummary): Record<string, string> {
  return Object.fromEntries(summary.failures.map(({ source, error }) => [source, error.code]));
}
