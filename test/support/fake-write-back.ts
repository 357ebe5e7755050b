/**
 * Write-back in memory: what it owes is done when the test says so, in order, by `drain`.
 *
 * A staged file is a buffer; everything that is to happen in the bucket waits in one list. Nothing is journaled.
 */
import type { ObjectVersion } from "../../src/cache/content.ts";
import { HawserError } from "../../src/common/errors.ts";
import { formatObjectTime } from "../../src/common/object-time.ts";
import type { MemoryStore } from "../../src/store/memory-store.ts";
import { StagedBytes } from "./staged-bytes.ts";
import type { FileStamp } from "../../src/writeback/records.ts";
import type { Base } from "../../src/writeback/verdict.ts";
import type {
  Exchanged,
  Rekeyed,
  ObjectMeta,
  RestoredItem,
  StagedFile,
  StagedState,
  StageOptions,
  WriteBack,
  WriteBackEvents,
  WriteBackStatus,
} from "../../src/writeback/write-back.ts";

type Work = () => Promise<void>;

export class FakeFile implements StagedFile {
  readonly id: number;
  key: string;
  base: Base;
  meta: ObjectMeta;
  state: StagedState = "closed";
  writers = 0;
  holds = 0;
  torn = false;
  /** Nothing here is lost by a crash. */
  readonly keepsClosed = false;
  flushes = 0;
  readonly bytes: StagedBytes;
  readonly #owner: FakeWriteBack;

  constructor(owner: FakeWriteBack, id: number, key: string, options: StageOptions, bytes: StagedBytes) {
    this.#owner = owner;
    this.id = id;
    this.key = key;
    this.base = options.base;
    this.meta = options.meta;
    this.bytes = bytes;
  }

  stamp(): FileStamp {
    return { size: this.bytes.content.length, mtime: this.bytes.mtimeMs };
  }

  backing(): number | undefined {
    return this.bytes.isWhole ? 1000 + this.id : undefined;
  }

  async openForWrite({ empty = false } = {}): Promise<void> {
    if (this.#owner.full) throw new HawserError("no_space", "The staging area is full.");
    this.writers++;
    this.torn = false;
    if (empty) await this.bytes.truncate(0);
    if (this.state === "dropped") return;
    this.state = "open";
    this.#owner.files.set(this.key, this);
  }

  releaseWrite(): void {
    if (--this.writers > 0 || this.state === "dropped") return;
    this.state = "sealed";
    this.#owner.sealed(this);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return await this.bytes.read(offset, length);
  }

  async write(offset: number, bytes: Uint8Array): Promise<number> {
    return await this.bytes.write(offset, bytes);
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.bytes.truncate(sizeBytes);
  }

  async allocate(mode: number, offset: number, length: number): Promise<void> {
    await this.bytes.allocate(mode, offset, length);
  }

  async seek(offset: number, whence: "data" | "hole"): Promise<number> {
    if (offset >= this.stamp().size) throw new HawserError("beyond_end", "behind the end");
    return whence === "data" ? offset : this.stamp().size;
  }

  async setTimes(mtimeMs: number): Promise<void> {
    this.bytes.mtimeMs = mtimeMs;
  }

  async flush(): Promise<void> {
    this.flushes++;
  }

  async tear(): Promise<void> {
    this.torn = true;
  }

  hold(): void {
    this.holds++;
  }

  unhold(): void {
    this.holds--;
  }

  async setMeta(meta: ObjectMeta): Promise<void> {
    this.meta = meta;
  }

  async fsync(): Promise<void> {
    await this.#owner.publishNow(this);
  }
}

export class FakeWriteBack implements WriteBack {
  readonly files = new Map<string, FakeFile>();
  readonly work: Work[] = [];
  /** `stage a`, `move a b`, …: everything that was asked for. */
  readonly asked: string[] = [];
  /** What a restart has found. */
  left: { files: { file: StagedFile; meta: ObjectMeta; base: Base }[]; items: RestoredItem[] } = {
    files: [],
    items: [],
  };
  full = false;
  #events: WriteBackEvents | undefined;
  #lastId = 0;
  readonly #store: MemoryStore;
  readonly #now: () => number;

  constructor(store: MemoryStore, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  restored(): Iterable<{ file: StagedFile; meta: ObjectMeta; base: Base }> {
    return this.left.files;
  }

  restoredItems(): Iterable<RestoredItem> {
    return this.left.items;
  }

  onEvents(events: WriteBackEvents): void {
    this.#events = events;
  }

  async stage(key: string, options: StageOptions): Promise<FakeFile> {
    if (this.full) throw new HawserError("no_space", "The staging area is full.");
    if (this.files.has(key)) throw new Error(`${key} has a staged file`);
    this.asked.push(`stage ${key} ${options.base.kind}${options.overlayOf ? " overlay" : ""}`);
    const version = options.overlayOf;
    const load = version && (async () => await this.#bytesOf(version));
    const file = new FakeFile(this, ++this.#lastId, key, options, new StagedBytes(this.#now, load));
    this.files.set(key, file);
    return file;
  }

  async #bytesOf(version: ObjectVersion): Promise<Buffer> {
    const bytes = Buffer.alloc(version.sizeBytes);
    await this.#store.get({ key: version.key, ifMatch: version.etag }, bytes);
    return bytes;
  }

  find(key: string): FakeFile | undefined {
    return this.files.get(key);
  }

  async drop(file: FakeFile): Promise<void> {
    this.asked.push(`drop ${file.key}`);
    file.state = "dropped";
    if (this.files.get(file.key) === file) this.files.delete(file.key);
  }

  async rekey(renames: readonly Rekeyed[]): Promise<void> {
    for (const { file, key, base } of renames) {
      this.asked.push(`rekey ${file.key} ${key} ${base.kind}`);
      if (this.files.has(key)) throw new Error(`${key} has a staged file`);
      const fake = file as FakeFile;
      this.files.delete(fake.key);
      fake.key = key;
      fake.base = base;
      this.files.set(key, fake);
    }
  }

  async exchange(exchanged: readonly Exchanged[], together?: () => void): Promise<FakeFile[]> {
    const loaded: (StagedBytes | undefined)[] = [];
    for (const { file, version } of exchanged) {
      if (file || !version) {
        loaded.push(undefined);
        await (file as FakeFile).bytes.load();
        continue;
      }
      const bytes = new StagedBytes(this.#now, async () => await this.#bytesOf(version));
      await bytes.load();
      bytes.mtimeMs = version.mtimeMs;
      loaded.push(bytes);
    }
    together?.();
    this.asked.push(
      `exchange ${exchanged.map(({ file, version, key }) => `${file?.key ?? version!.key} ${key}`).join(" ")}`,
    );
    for (const { file } of exchanged) if (file) this.files.delete(file.key);
    return exchanged.map(({ file: present, meta, key, base }, at) => {
      const file =
        (present as FakeFile) ?? new FakeFile(this, ++this.#lastId, key, { base, meta }, loaded[at]!);
      file.key = key;
      file.base = base;
      this.files.set(key, file);
      if (present && file.state === "open") return file;
      file.state = "sealed";
      this.sealed(file);
      return file;
    });
  }

  async remove({ key, etag }: { key: string; etag?: string }, after?: Promise<void>): Promise<void> {
    this.asked.push(`remove ${key}`);
    let held = after !== undefined;
    void after?.then(() => {
      held = false;
    });
    const run: Work = async () => {
      if (held) {
        this.work.push(run);
        return;
      }
      const present = await this.#head(key);
      if (present && (etag === undefined || present.etag === etag || present.etag === this.etags.get(etag)))
        await this.#store.delete(key);
      this.#events?.settled([key]);
    };
    this.work.push(run);
  }

  /** What became of ETags by copies. */
  readonly etags = new Map<string, string>();

  async move(version: ObjectVersion, toKey: string): Promise<void> {
    this.asked.push(`move ${version.key} ${toKey}`);
    this.work.push(async () => {
      const { etag } = await this.#store.copy({ key: version.key }, toKey);
      await this.#store.delete(version.key);
      this.etags.set(version.etag, etag);
      const info = await this.#store.head(toKey);
      this.#events?.copied(
        { key: version.key, etag: version.etag },
        { ...version, key: toKey, etag, mtimeMs: mtimeOf(info, version) },
      );
      this.#events?.settled([version.key, toKey]);
    });
  }

  async replaceMeta(version: ObjectVersion, meta: ObjectMeta): Promise<void> {
    this.asked.push(`replaceMeta ${version.key}`);
    this.work.push(async () => {
      const { key } = version;
      const { etag } = await this.#store.copy({ key }, key, { ...meta, metadataDirective: "replace" });
      const info = await this.#store.head(key);
      this.#events?.copied(version, { ...version, etag, mtimeMs: mtimeOf(info, version) });
    });
  }

  async mark(key: string, meta: ObjectMeta): Promise<void> {
    this.asked.push(`mark ${key}`);
    this.work.push(async () => {
      await this.#store.put(key, new Uint8Array(0), meta);
      this.#events?.settled([key]);
    });
  }

  async foldersChanged(): Promise<void> {}

  async owe(): Promise<() => void> {
    return () => undefined;
  }

  sealed(file: FakeFile): void {
    this.work.push(() => this.publishNow(file, true));
  }

  /** Publishes a file now, when it is sealed or asked for by fsync. */
  async publishNow(file: FakeFile, ifSealed = false): Promise<void> {
    if (file.state === "dropped" || (ifSealed && file.state !== "sealed")) return;
    if (file.torn) {
      this.files.delete(file.key);
      file.state = "dropped";
      this.#events?.conflict(file, `recovered-${file.id}`, "object");
      return;
    }
    const present = await this.#head(file.key);
    if (!fits(file.base, present?.etag)) {
      this.files.delete(file.key);
      file.state = "dropped";
      this.#events?.conflict(file, `recovered-${file.id}`, "object");
      return;
    }
    await file.bytes.load();
    const mtimeMs = file.bytes.mtimeMs;
    const content = Buffer.from(file.bytes.content);
    const metadata = { ...file.meta.metadata, mtime: formatObjectTime(mtimeMs) };
    const { etag } = await this.#store.put(file.key, content, { ...file.meta, metadata });
    const version = { key: file.key, etag, sizeBytes: content.length, mtimeMs };
    file.base = { kind: "version", etag };
    if (file.state === "sealed") {
      file.state = "published";
      this.files.delete(file.key);
    }
    this.#events?.published(file, version);
  }

  async #head(key: string): Promise<{ etag: string } | undefined> {
    try {
      return await this.#store.head(key);
    } catch {
      return undefined;
    }
  }

  /** Does everything that is owed. */
  async drain(): Promise<void> {
    for (let left = this.work.length * 2; this.work.length > 0 && left > 0; left--)
      await this.work.shift()!();
  }

  async flush(_prefix?: string): Promise<void> {
    await this.drain();
  }

  async settled(_key: string): Promise<void> {
    await this.drain();
  }

  /** What has lost a conflict, for whoever asks. */
  conflicts: HawserError | undefined;

  async tellConflicts(prefix: string, how: string): Promise<void> {
    this.asked.push(`tellConflicts ${prefix} ${how}`);
    if (this.conflicts) throw this.conflicts;
  }

  async tidy(): Promise<void> {}

  isBusy(): boolean {
    return false;
  }

  status(): WriteBackStatus {
    return {
      files: [],
      pendingBytes: 0,
      stagingBytes: 0,
      items: this.work.length,
      recovered: 0,
      syncedAtMs: 0,
    };
  }

  unchangedRanges(): [] {
    return [];
  }

  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

function fits(base: Base, present: string | undefined): boolean {
  if (base.kind === "any") return true;
  return base.kind === "absent" ? present === undefined : present === base.etag;
}

function mtimeOf(
  info: { metadata: Record<string, string>; mtimeMs: number },
  version: ObjectVersion,
): number {
  const text = info.metadata["mtime"];
  return text === undefined ? version.mtimeMs : Number(text) * 1000;
}
