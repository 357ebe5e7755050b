/**
 * Engine: the write-back of one volume. It owns the staged files by id and key and ties the parts together; what happens
 * to a file is FileLife's, to everything else in the bucket Items', to keys that change Rekeying's.
 */
import { randomBytes } from "node:crypto";
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError } from "../common/errors.ts";
import { Barrier } from "./barrier.ts";
import type { BarrierHost } from "./barrier.ts";
import type { Context } from "./context.ts";
import { CopySources } from "./copy-sources.ts";
import { FileLife } from "./file-life.ts";
import type { LifeHost } from "./file-life.ts";
import type { ItemWork } from "./item-work.ts";
import { Items } from "./items.ts";
import type { ItemsHost } from "./items.ts";
import type { Stray } from "./journal-state.ts";
import { MultipartJanitor } from "./multipart-janitor.ts";
import type { ByteRange } from "./part-plan.ts";
import type { Circumstances } from "./recovery.ts";
import type { Item } from "./records.ts";
import { Rekeying } from "./rekeying.ts";
import type { RekeyingHost } from "./rekeying.ts";
import { LocalStaged } from "./staged-file.ts";
import { StrayWork } from "./stray-work.ts";
import { TakeUp } from "./take-up.ts";
import type { TakeUpHost } from "./take-up.ts";
import { Upkeep } from "./upkeep.ts";
import type { Base } from "./verdict.ts";
import type {
  Exchanged,
  ObjectMeta,
  PendingFile,
  Rekeyed,
  RestoredFile,
  RestoredItem,
  StageOptions,
  StagedFile,
  WriteBack,
  WriteBackEvents,
  WriteBackStatus,
} from "./write-back.ts";

export class Engine implements WriteBack, LifeHost, ItemsHost, TakeUpHost, BarrierHost, RekeyingHost {
  readonly #context: Context;
  readonly #closing: AbortController;
  readonly #life: FileLife;
  readonly #items: Items;
  readonly #janitor: MultipartJanitor;
  readonly #barrier: Barrier;
  readonly #rekeying: Rekeying;
  readonly #upkeep: Upkeep;
  readonly #files = new Map<number, LocalStaged>();
  readonly #byKey = new Map<string, LocalStaged>();
  readonly sources: CopySources;
  /** Objects that may have been left behind, and the store has not let us look. */
  #unresolved: Stray[] = [];
  /** What a process before has left, until the filesystem has been told. */
  #restored: LocalStaged[] = [];
  readonly #session = randomBytes(4).toString("hex");
  #closed: Promise<void> | undefined;

  constructor(context: Context, closing: AbortController) {
    this.#context = context;
    this.#closing = closing;
    this.sources = new CopySources(context.journal, (key) => this.find(key));
    this.#life = new FileLife(context, this);
    this.#items = new Items(context, this);
    this.#janitor = new MultipartJanitor(context);
    this.#barrier = new Barrier(context, this.#life, this);
    this.#rekeying = new Rekeying(context, this.#life, this.#items, this);
    this.#upkeep = new Upkeep(context, () => this.files());
  }

  /** Takes up what a process before has left. */
  async recover(now: Circumstances): Promise<void> {
    this.#restored = await new TakeUp(this.#context, this.#life, this).run(now);
    await this.#context.journal.flush();
    this.#upkeep.tickLater();
  }

  restored(): Iterable<RestoredFile> {
    // Of what has arrived by now the bucket tells.
    const files = this.#restored.filter((file) => !file.isGone && file.state !== "published");
    this.#restored = [];
    return files.map((file) => ({ file, meta: file.entry.meta, base: file.entry.base }));
  }

  /** As it is now: nobody was told of what has been done since the start. */
  restoredItems(): Iterable<RestoredItem> {
    const { items, goneFolders } = this.#context.journal.state;
    const left: RestoredItem[] = [];
    for (const [, item] of [...items].sort(([one], [other]) => one - other)) {
      if (item.kind === "remove") left.push({ kind: "remove", key: item.key });
      else if (item.kind !== "meta") left.push(item);
    }
    for (const key of goneFolders) left.push({ kind: "gone", key });
    return left;
  }

  onEvents(events: WriteBackEvents): void {
    this.#context.events = events;
  }

  async stage(key: string, options: StageOptions): Promise<StagedFile> {
    const { area, journal, fault, clock } = this.#context;
    this.#refuseWhenClosed();
    await area.makeRoom();
    if (this.#byKey.has(key)) throw new HawserError("exists", `${key} has a staged file already.`);
    const { state } = journal;
    const id = state.nextId++;
    const { base, hidden } = this.#rekeying.takeOver(key, options.base);
    const uuid = this.uuidOf(id);
    const { overlayOf: overlay, meta } = options;
    // Behind the answer: the writer is about to fill the file.
    if (this.#life.isSealing) setImmediate(() => this.#life.sealClosed());
    // On its way to the log is enough: a file that nobody has closed may be lost, and one without a record is swept.
    journal.add({ t: "stage", id, uuid, key, base, overlay, meta, at: clock.now() }, ...hidden({ id }));
    const file = new LocalStaged(this.#context, this.#life, state.files.get(id)!);
    this.register(file);
    try {
      file.local.opened(await area.create(id));
      fault("staging.created");
      if (overlay) {
        await file.local.truncate(overlay.sizeBytes);
        await file.local.setMtime(overlay.mtimeMs);
        await file.local.closeWriter();
        area.resized(id, overlay.sizeBytes);
      }
      return file;
    } catch (error) {
      this.#life.end.drop(file);
      throw error;
    }
  }

  uuidOf(id: number): string {
    return `${this.#context.journal.state.volumeId}.${this.#session}.${id}`;
  }

  nameless(id: number, keptFor: LocalStaged): LocalStaged {
    const kept = new LocalStaged(this.#context, this.#life, this.#context.journal.state.files.get(id)!);
    this.keep(kept, keptFor);
    return kept;
  }

  /** What a file held when it was closed, without a name while that file has it. */
  keep(kept: LocalStaged, keptFor: LocalStaged): void {
    keptFor.kept = kept;
    kept.keptFor = keptFor;
    this.#registerNameless(kept);
  }

  find(key: string): LocalStaged | undefined {
    return this.#byKey.get(key);
  }

  async drop(file: StagedFile): Promise<void> {
    const staged = this.own(file);
    if (!staged) return;
    this.#life.end.drop(staged);
    await this.#context.journal.flush();
  }

  async rekey(renames: readonly Rekeyed[]): Promise<void> {
    await this.#rekeying.rekey(renames);
  }

  async exchange(exchanged: readonly Exchanged[], together?: () => void): Promise<StagedFile[]> {
    this.#refuseWhenClosed();
    return await this.#rekeying.exchange(exchanged, together);
  }

  async remove(version: { key: string; etag?: string | undefined }, after?: Promise<void>): Promise<void> {
    this.#refuseWhenClosed();
    await this.#items.add({ kind: "remove", key: version.key, etag: version.etag }, after);
  }

  async move(version: ObjectVersion, toKey: string): Promise<void> {
    this.#refuseWhenClosed();
    await this.#items.add({ kind: "move", version, toKey });
  }

  async replaceMeta(version: ObjectVersion, meta: ObjectMeta): Promise<void> {
    this.#refuseWhenClosed();
    const uuid = `${this.#context.journal.state.volumeId}.${randomBytes(8).toString("hex")}-0`;
    await this.#items.add({ kind: "meta", version, meta, uuid });
  }

  async mark(key: string, meta: ObjectMeta): Promise<void> {
    this.#refuseWhenClosed();
    this.#items.fold(key);
    await this.#items.add({ kind: "mark", key, meta });
  }

  async owe(key: string, meta: ObjectMeta): Promise<() => void> {
    this.#refuseWhenClosed();
    const { journal } = this.#context;
    const seq = this.nextSeq();
    journal.add({ t: "item", seq, item: { kind: "mark", key, meta } });
    const withdraw = (): void => journal.add({ t: "done", seq });
    await journal.flush();
    return withdraw;
  }

  async foldersChanged(folders: { gone?: readonly string[]; back?: readonly string[] }): Promise<void> {
    const { journal } = this.#context;
    const { gone = [] } = folders;
    const known = new Set([...journal.state.goneFolders, ...gone]);
    const back = (folders.back ?? []).filter((key) => known.has(key));
    if (gone.length === 0 && back.length === 0) return;
    journal.add({ t: "folders", gone, back });
    await journal.flush();
  }

  async flush(prefix = "", signal?: AbortSignal): Promise<void> {
    await this.#barrier.flush(prefix, signal);
  }

  async settled(key: string): Promise<void> {
    await this.#barrier.settled(key);
  }

  async tellConflicts(prefix: string, how: "standing" | "once" | "exact"): Promise<void> {
    const { conflicts } = this.#context;
    if (how === "standing") await conflicts.tellStanding(prefix);
    else conflicts.tellOnce((key) => (how === "exact" ? key === prefix : key.startsWith(prefix)));
  }

  async tidy(signal?: AbortSignal): Promise<void> {
    await this.#janitor.tidy(signal);
  }

  isBusy(key: string): boolean {
    return this.#context.queue.touches(key);
  }

  status(): WriteBackStatus {
    const files: PendingFile[] = [];
    let pendingBytes = 0;
    for (const file of this.#files.values()) {
      if (file.state === "published" || file.inPlace) continue;
      const pending = this.#pendingOf(file);
      pendingBytes += pending.sizeBytes;
      files.push(pending);
    }
    return {
      files,
      pendingBytes,
      stagingBytes: this.#context.area.usedBytes,
      items: this.#items.size,
      recovered: this.#context.recovered.count,
      syncedAtMs: this.#upkeep.syncedAtMs,
    };
  }

  #pendingOf(file: LocalStaged): PendingFile {
    const { clock } = this.#context;
    const { key, state, sentBytes, lastError } = file;
    const sendingMs = file.sendingSince === undefined ? 0 : clock.monotonic() - file.sendingSince;
    return {
      key,
      state,
      sizeBytes: file.entry.sealed?.size ?? file.measure(),
      sentBytes,
      ageMs: clock.now() - file.pendingSinceMs,
      bytesPerSecond: sendingMs > 0 ? (sentBytes * 1000) / sendingMs : 0,
      lastError: lastError && { code: lastError.code, message: lastError.message },
    };
  }

  unchangedRanges(file: StagedFile): ByteRange[] {
    return file instanceof LocalStaged ? [...file.entry.unchanged.ranges] : [];
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const { slots, queue, journal } = this.#context;
    this.#upkeep.stop();
    this.#closing.abort(new HawserError("closed", "Write-back was closed."));
    slots.close();
    this.#life.close();
    await Promise.all([...queue.works()].map((work) => queue.over(work)));
    await this.#janitor.idle();
    for (const { early } of this.#files.values()) await early?.stop();
    await this.#upkeep.idle();
    const error = new HawserError("closed", "Write-back was closed.");
    for (const file of this.#files.values()) {
      file.settle(Number.POSITIVE_INFINITY, error);
      await file.local.close();
    }
    await journal.close();
  }

  /** Something is on its way out of the staging area. */
  get isDraining(): boolean {
    for (const { state } of this.#files.values())
      if (state === "sealed" || state === "uploading") return true;
    return this.#life.isSealing;
  }

  // LifeHost, ItemsHost, TakeUpHost and BarrierHost.

  files(): Iterable<LocalStaged> {
    return this.#files.values();
  }

  items(): Iterable<ItemWork> {
    return this.#items.works();
  }

  lookForUnresolved(): void {
    for (const stray of this.#unresolved.splice(0)) this.#look(stray);
  }

  nextSeq(): number {
    return this.#context.journal.state.nextSeq++;
  }

  forget(file: LocalStaged): void {
    const { kept, keptFor } = file;
    if (keptFor?.kept === file) keptFor.kept = undefined;
    if (this.#byKey.get(file.key) === file) this.#byKey.delete(file.key);
    if (kept) {
      // It has the name again.
      kept.keptFor = undefined;
      file.kept = undefined;
      this.#byKey.set(kept.key, kept);
      if (kept.inPlace) {
        kept.inPlace = false;
        this.#life.seal(kept);
      }
    }
    this.#files.delete(file.id);
    this.sources.delete(file);
    this.sources.changed();
  }

  removeOrphan(key: string, etag: string | undefined): void {
    if (this.#closing.signal.aborted) return;
    void this.#items.add({ kind: "remove", key, etag }).catch(() => undefined);
  }

  abandoned(): void {
    this.#janitor.kick();
  }

  leavesDoubtful(file: LocalStaged): void {
    const { journal } = this.#context;
    const { key, entry } = file;
    const stray = { uuid: entry.uuid, n: entry.n, key };
    journal.add({ t: "stray", ...stray });
    this.#look(stray);
  }

  #look(stray: Stray): void {
    this.#context.queue.add(new StrayWork(this.#context, this, stray, undefined));
  }

  unresolved(stray: Stray): void {
    this.#unresolved.push(stray);
  }

  rebase(from: { key: string; etag: string }, to: ObjectVersion): void {
    for (const file of this.#files.values()) {
      const { key, base, overlay, id } = file.entry;
      const isBase = key === from.key && base.kind === "version" && base.etag === from.etag;
      const isOverlay = overlay?.key === from.key && overlay.etag === from.etag;
      if (!isBase && !isOverlay) continue;
      const newBase: Base = isBase ? { kind: "version", etag: to.etag } : base;
      file.journal({ t: "base", id, base: newBase, ...(isOverlay ? { overlay: to } : {}) });
    }
  }

  owns(file: LocalStaged): boolean {
    return this.#files.get(file.id) === file;
  }

  startItem(seq: number, item: Item): void {
    this.#items.start(seq, item);
  }

  leaves(key: string): void {
    this.#byKey.delete(key);
  }

  register(file: LocalStaged): void {
    this.#byKey.set(file.key, file);
    this.#registerNameless(file);
  }

  #registerNameless(file: LocalStaged): void {
    this.#files.set(file.id, file);
    const { overlay, uploaded } = file.entry;
    if ((overlay && overlay.key !== file.key) || (uploaded && uploaded.key !== file.key))
      this.sources.add(file);
  }

  own(file: StagedFile): LocalStaged | undefined {
    return file instanceof LocalStaged && this.owns(file) ? file : undefined;
  }

  #refuseWhenClosed(): void {
    if (this.#closing.signal.aborted) throw new HawserError("closed", "Write-back was closed.");
  }
}
