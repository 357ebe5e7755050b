/**
 * Engine: the write-back of one volume. It owns the staged files by id and key and ties the parts together; what happens
 * to a file is FileLife's, to everything else in the bucket Items'.
 */
import { randomBytes } from "node:crypto";
import type { ObjectVersion } from "../cache/content.ts";
import { HawserError } from "../common/errors.ts";
import type { Bytes, EpochMs, Milliseconds } from "../common/units.ts";
import { Barrier } from "./barrier.ts";
import type { BarrierHost } from "./barrier.ts";
import type { Context } from "./context.ts";
import { EarlyUpload } from "./early-upload.ts";
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
import type { Item, JournalRecord } from "./records.ts";
import { prepareOverlay } from "./prepared-overlay.ts";
import type { PreparedOverlay } from "./prepared-overlay.ts";
import { LocalStaged } from "./staged-file.ts";
import { StrayWork } from "./stray-work.ts";
import { TakeUp } from "./take-up.ts";
import type { TakeUpHost } from "./take-up.ts";
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

/** Of a folder that was renamed: a record of the log has an end. */
const KEYS_OF_A_RECORD = 5_000;
/** Files closed since the last tick are synced at the next. */
const TICK_MS: Milliseconds = 1_000;

export class Engine implements WriteBack, LifeHost, ItemsHost, TakeUpHost, BarrierHost {
  readonly #context: Context;
  readonly #closing: AbortController;
  readonly #life: FileLife;
  readonly #items: Items;
  readonly #janitor: MultipartJanitor;
  readonly #barrier: Barrier;
  readonly #files = new Map<number, LocalStaged>();
  readonly #byKey = new Map<string, LocalStaged>();
  readonly sources: CopySources;
  /** Objects that may have been left behind, and the store has not let us look. */
  #unresolved: Stray[] = [];
  /** What a process before has left, until the filesystem has been told. */
  #restored: LocalStaged[] = [];
  readonly #session = randomBytes(4).toString("hex");
  #syncedAtMs: EpochMs;
  #cancelTick = (): void => undefined;
  #ticking: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(context: Context, closing: AbortController) {
    this.#context = context;
    this.#closing = closing;
    this.sources = new CopySources(context.journal, (key) => this.find(key));
    this.#life = new FileLife(context, this);
    this.#items = new Items(context, this);
    this.#janitor = new MultipartJanitor(context);
    this.#barrier = new Barrier(context, this.#life, this);
    this.#syncedAtMs = context.clock.now();
  }

  /** Takes up what a process before has left. */
  async recover(now: Circumstances): Promise<void> {
    this.#restored = await new TakeUp(this.#context, this.#life, this).run(now);
    await this.#context.journal.flush();
    this.#tickLater();
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
    const { base, hidden } = this.#takeOver(key, options.base);
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
    const staged = this.#own(file);
    if (!staged) return;
    this.#life.end.drop(staged);
    await this.#context.journal.flush();
  }

  async rekey(renames: readonly Rekeyed[]): Promise<void> {
    const moved: { file: LocalStaged; from: string; key: string; base: Base }[] = [];
    for (const { file, key, base } of renames) {
      const staged = this.#own(file);
      if (!staged) throw new HawserError("stale", `${file.key} is not a staged file any more.`);
      if (staged.key !== key) moved.push({ file: staged, from: staged.key, key, base });
    }
    const leaving = new Set(moved.map(({ file }) => file));
    for (const { key } of moved) {
      const there = this.#byKey.get(key);
      if (there && !leaving.has(there)) throw new HawserError("exists", `${key} has a staged file already.`);
    }
    for (const { file } of moved) {
      if (file.kept) this.#life.end.leaveKey(file.kept);
      this.#life.end.leaveKey(file);
      this.#byKey.delete(file.key);
    }
    const places = moved.map(({ file, key, base }) => ({ file, key, ...this.#takeOver(key, base) }));
    const keys = places.flatMap(({ file, key, base }) => keysOf(file, key, base));
    for (let at = 0; at < keys.length; at += KEYS_OF_A_RECORD)
      this.#context.journal.add({ t: "keys", keys: keys.slice(at, at + KEYS_OF_A_RECORD) });
    for (const { file, hidden } of places) this.#context.journal.add(...hidden(file));
    for (const { file, from } of moved) this.#hasMoved(file, from);
    this.sources.changed();
    await this.#context.journal.flush();
  }

  /**
   * What a file replaces that takes a key, where the filesystem holds it to be `known`, and the records that say so where
   * that does not know the object: to be journaled with it.
   */
  #takeOver(key: string, known: Base): { base: Base; hidden: (file: IdAndKept) => JournalRecord[] } {
    const folded = this.#items.fold(key);
    const base = folded ?? known;
    const isHidden = folded ? folded.kind !== "absent" : base.kind === "any";
    const records = ({ id, kept }: IdAndKept): JournalRecord[] => [
      ...(kept ? records(kept) : []),
      { t: "base", id, base, hidden: true },
    ];
    return { base, hidden: isHidden ? records : () => [] };
  }

  #hasMoved(file: LocalStaged, from: string): void {
    this.#byKey.set(file.key, file);
    // In this order: what was closed before is published before.
    for (const each of [file.kept, file]) {
      if (!each) continue;
      this.sources.add(each);
      this.#life.moved(each, from);
    }
  }

  async exchange(exchanged: readonly Exchanged[], together?: () => void): Promise<StagedFile[]> {
    this.#refuseWhenClosed();
    const { journal, area } = this.#context;
    const overlays = new Map<Exchanged, PreparedOverlay>();
    for (const each of exchanged) {
      const { version } = each;
      // The local files come first: a record without one would be a lost file. Without a record they are swept.
      if (!each.file && version)
        overlays.set(each, await prepareOverlay(area, journal.state.nextId++, version));
    }
    const moved: { file: LocalStaged; from: string; to: Exchanged }[] = [];
    for (const to of exchanged) {
      const file = to.file && this.#own(to.file);
      if (to.file && !file) throw new HawserError("stale", `${to.file.key} is not a staged file any more.`);
      if (file) moved.push({ file, from: file.key, to });
    }
    together?.();
    for (const { file } of moved) {
      if (file.kept) this.#life.end.leaveKey(file.kept);
      this.#life.end.leaveKey(file);
      this.#byKey.delete(file.key);
    }
    const records: JournalRecord[] = [];
    for (const { file, to } of moved) {
      const { base, hidden } = this.#takeOver(to.key, to.base);
      records.push({ t: "keys", keys: keysOf(file, to.key, base) }, ...hidden(file));
    }
    for (const [to, { id, stamp }] of overlays) {
      const uuid = this.uuidOf(id);
      const { base, hidden } = this.#takeOver(to.key, to.base);
      const at = this.#context.clock.now();
      records.push({ t: "stage", id, uuid, key: to.key, base, overlay: to.version, meta: to.meta, at });
      records.push(...hidden({ id }));
      records.push({ t: "flush", id, ...stamp }, { t: "synced", id, ...stamp });
    }
    journal.add(...records);
    for (const { file, from } of moved) this.#hasMoved(file, from);
    const made = new Map<Exchanged, LocalStaged>();
    for (const [to, { id, stamp }] of overlays) {
      const file = new LocalStaged(this.#context, this.#life, journal.state.files.get(id)!);
      area.resized(id, stamp.size);
      this.register(file);
      made.set(to, file);
      this.#life.seal(file);
    }
    this.sources.changed();
    await journal.flush();
    return exchanged.map((each) => each.file ?? made.get(each)!);
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
      syncedAtMs: this.#syncedAtMs,
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
    this.#cancelTick();
    this.#closing.abort(new HawserError("closed", "Write-back was closed."));
    slots.close();
    this.#life.close();
    await Promise.all([...queue.works()].map((work) => queue.over(work)));
    await this.#janitor.idle();
    for (const { early } of this.#files.values()) await early?.stop();
    await this.#ticking;
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

  #own(file: StagedFile): LocalStaged | undefined {
    return file instanceof LocalStaged && this.owns(file) ? file : undefined;
  }

  #refuseWhenClosed(): void {
    if (this.#closing.signal.aborted) throw new HawserError("closed", "Write-back was closed.");
  }

  #tickLater(): void {
    if (this.#closing.signal.aborted) return;
    this.#cancelTick = this.#context.clock.after(TICK_MS, () => {
      this.#ticking = this.#tick().finally(() => this.#tickLater());
    });
  }

  /** Parts of a file that is open; an overlay or what an fsync has brought there is better copied from. */
  #sendEarly(file: LocalStaged, sizeBytes: Bytes): void {
    const { entry } = file;
    if (sizeBytes < this.#context.options.earlyUpload || entry.overlay || entry.uploaded || file.live) return;
    file.early ??= new EarlyUpload(this.#context, file);
    file.early.kick();
  }

  async #tick(): Promise<void> {
    const { journal, slots, area, clock, logger } = this.#context;
    slots.reconsider();
    area.reconsider();
    const before = clock.now();
    try {
      for (const file of this.#files.values()) {
        if (file.writers > 0) this.#sendEarly(file, file.measure());
        // What is published within a second costs no sync.
        const isOld = before - file.pendingSinceMs >= TICK_MS;
        if (isOld && isPending(file) && !file.entry.synced) await file.syncBytes(false);
      }
      await journal.sync();
      this.#syncedAtMs = before - TICK_MS;
      await journal.upkeep();
    } catch (error) {
      if (!this.#closing.signal.aborted)
        logger.warn({ err: error }, "staged files could not be synced to disk");
    }
  }
}

interface IdAndKept {
  readonly id: number;
  readonly kept?: IdAndKept | undefined;
}

/** A file, and what is kept of it, under another key. */
function keysOf(
  file: LocalStaged,
  key: string,
  base: Base,
): (readonly [id: number, key: string, base: Base])[] {
  return [file.kept, file].filter((each) => each !== undefined).map(({ id }) => [id, key, base]);
}

/** Closed, and on its way to the bucket. */
function isPending({ state, inPlace }: LocalStaged): boolean {
  return inPlace || state === "sealed" || state === "uploading" || state === "failed";
}
