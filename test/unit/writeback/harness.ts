/** A write-back over a bucket in memory and a real folder, that can crash and be opened again. */
import { constants } from "node:fs";
import { readFileSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { ObjectVersion } from "../../../src/cache/content.ts";
import type { HawserError } from "../../../src/common/errors.ts";
import { createFaultyStore } from "../../../src/store/faulty-store.ts";
import type { FaultControl } from "../../../src/store/faulty-store.ts";
import { MemoryStore } from "../../../src/store/memory-store.ts";
import type { MemoryStoreOptions } from "../../../src/store/memory-store.ts";
import type { WriteBackParts } from "../../../src/writeback/context.ts";
import { openWriteBack } from "../../../src/writeback/open-write-back.ts";
import type { StagedFile, WriteBack } from "../../../src/writeback/write-back.ts";
import { TestClock } from "../store/test-clock.ts";

export const PART = 5 * 1024 * 1024;

export const bytesOf = (size: number, seed = 1): Buffer =>
  Buffer.from(Uint8Array.from({ length: size }, (_, at) => at * 31 + (at >>> 8) + seed));

export interface Told {
  published: [key: string, etag: string][];
  copied: [from: string, to: string][];
  conflicts: [key: string, name: string][];
  failed: [key: string, code: string][];
  settled: string[];
}

export class Harness {
  readonly folder: string;
  readonly store: MemoryStore & { readonly faults: FaultControl };
  readonly clock = new TestClock();
  readonly told: Told = { published: [], copied: [], conflicts: [], failed: [], settled: [] };
  readonly logs: string[] = [];
  wb!: WriteBack;
  parts!: WriteBackParts;
  /** Called at each event, for tests that wait for one. */
  onEvent: () => void = () => undefined;

  private constructor(folder: string, store: MemoryStore & { readonly faults: FaultControl }) {
    this.folder = folder;
    this.store = store;
  }

  static async start(more: Partial<WriteBackParts> = {}, bucket: MemoryStoreOptions = {}): Promise<Harness> {
    const folder = await mkdtemp(join(tmpdir(), "hawser-writeback-"));
    const harness = new Harness(folder, createFaultyStore(new MemoryStore(bucket)));
    await harness.open(more);
    return harness;
  }

  async open(more: Partial<WriteBackParts> = {}): Promise<void> {
    this.parts = {
      store: this.store,
      stagingDir: this.folder,
      clock: this.clock,
      random: () => 0.5,
      bootId: "boot-1",
      logger: pino({ level: "debug" }, { write: (line: string) => void this.logs.push(line) }),
      readBase: async ({ key, etag }, offset, target) =>
        (await this.store.get({ key, offset, length: target.length, ifMatch: etag }, target)).bytesRead,
      ...more,
      options: { keepFree: 0, partBytes: PART, ...more.options },
    };
    this.wb = await openWriteBack(this.parts);
    this.wb.onEvents({
      published: (_file, version) => this.#tell(() => this.told.published.push([version.key, version.etag])),
      copied: (from, version) => this.#tell(() => this.told.copied.push([from.key, version.key])),
      conflict: (file, name) => this.#tell(() => this.told.conflicts.push([file.key, name])),
      failed: (file, error: HawserError) => this.#tell(() => this.told.failed.push([file.key, error.code])),
      settled: (keys) => this.#tell(() => this.told.settled.push(...keys)),
    });
  }

  #tell(note: () => void): void {
    note();
    this.onEvent();
  }

  /** Moves the clock, and lets everything that became due run, until the condition holds. */
  async until(condition: () => boolean, stepMs = 50): Promise<void> {
    const began = performance.now();
    for (let step = 0; !condition(); step++) {
      // The clock is the test's, the disk is the machine's: a busy one takes its time for a sync.
      if (step > 4000 && performance.now() - began > 60_000)
        throw new Error("what the test waits for does not happen");
      this.clock.advance(stepMs);
      await turns(3);
    }
  }

  /** The process ends now: what it wrote to files stays, nothing else happens. */
  async crashAndOpen(more: Partial<WriteBackParts> = {}): Promise<void> {
    await this.wb.close();
    await this.open(more);
  }

  async end(): Promise<void> {
    await this.wb.close();
    await rm(this.folder, { recursive: true });
  }

  /** A file written as through a handle: open, write, close. */
  async write(key: string, content: Uint8Array | string, more: { base?: string } = {}): Promise<StagedFile> {
    const file = await this.openNew(key, more);
    await file.write(0, Buffer.from(content));
    await this.closeFile(file);
    return file;
  }

  async openNew(key: string, { base }: { base?: string } = {}): Promise<StagedFile> {
    const file = await this.wb.stage(key, {
      base: base === undefined ? { kind: "absent" } : { kind: "version", etag: base },
      meta: { metadata: { mode: "33188" }, contentType: "text/plain" },
    });
    await file.openForWrite();
    return file;
  }

  /** An overlay of what the bucket has. */
  async overlay(key: string): Promise<StagedFile> {
    const version = await this.version(key);
    const file = await this.wb.stage(key, {
      base: { kind: "version", etag: version.etag },
      overlayOf: version,
      meta: {},
    });
    await file.openForWrite();
    return file;
  }

  async closeFile(file: StagedFile): Promise<void> {
    await file.flush();
    file.releaseWrite();
  }

  async version(key: string): Promise<ObjectVersion> {
    const { etag, sizeBytes, mtimeMs } = await this.store.head(key);
    return { key, etag, sizeBytes, mtimeMs };
  }

  /** What an upload of this content carries in its metadata, as the journal says. */
  uploadId(key: string, n: number): string {
    const journal = readFileSync(join(this.folder, "journal"), "latin1");
    const uuid = journal.match(new RegExp(`"uuid":"([^"]+)","key":"${key}"`))![1]!;
    return `${uuid}-${n}`;
  }

  text(key: string): string | undefined {
    const bytes = this.store.peek(key);
    return bytes && Buffer.from(bytes).toString();
  }

  count(method: Parameters<MemoryStore["counts"]["get"]>[0]): number {
    return this.store.counts.get(method) ?? 0;
  }
}

/** Lets callbacks of the file system and the event loop run. */
export async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    // One trip through the thread pool: what was asked of it before is back.
    const file = await open("/dev/null", constants.O_RDONLY);
    await file.close();
  }
}
