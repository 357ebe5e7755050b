/**
 * TakeUp: what a process before has left, taken up by the next one.
 *
 * Each staged file's fate is decided from the journal and the local file (recovery.ts) and begins at once; what is to be
 * done in the bucket goes into the queue in the order it had. A file that was being rewritten stands beside the file that
 * keeps what it held when it was closed, and which of the two counts is part of its fate.
 */
import { stat } from "node:fs/promises";
import type { Context } from "./context.ts";
import type { FileLife } from "./file-life.ts";
import { fateOf } from "./recovery.ts";
import type { Circumstances, Fate } from "./recovery.ts";
import type { FileStamp, Item } from "./records.ts";
import { LocalStaged } from "./staged-file.ts";
import { StrayWork } from "./stray-work.ts";
import type { StrayHost } from "./stray-work.ts";

/** What TakeUp asks of the owner of all files. */
export interface TakeUpHost extends StrayHost {
  /** The file has its key. */
  register(file: LocalStaged): void;
  /** What a file held when it was closed, without a name while that file has it. */
  keep(kept: LocalStaged, keptFor: LocalStaged): void;
  /** It is somebody's: neither forgotten nor in `recovered/`. */
  owns(file: LocalStaged): boolean;
  startItem(seq: number, item: Item): void;
  /** There may be multiparts to be aborted. */
  abandoned(): void;
}

/** A file that was left. */
interface Left {
  readonly file: LocalStaged;
  /** Of the local file. */
  readonly inode: number | undefined;
  readonly fate: Fate;
}

export class TakeUp {
  readonly #context: Context;
  readonly #life: FileLife;
  readonly #host: TakeUpHost;
  readonly #named: LocalStaged[] = [];
  /** The filesystem is not told of them. */
  readonly #nameless: LocalStaged[] = [];

  constructor(context: Context, life: FileLife, host: TakeUpHost) {
    this.#context = context;
    this.#life = life;
    this.#host = host;
  }

  /** @returns the files that have a name */
  async run(now: Circumstances): Promise<LocalStaged[]> {
    const { journal } = this.#context;
    const left = await this.#decide(now);
    for (const [mp, key] of journal.state.copying) journal.add({ t: "orphan", mp, key });
    this.#host.abandoned();
    const keptIds = new Set(Array.from(left.values(), ({ file }) => file.entry.kept));
    for (const [id, one] of left) if (!keptIds.has(id)) await this.#takeUpWithKept(one, left);
    this.#startInOrder();
    return this.#named;
  }

  async #decide(now: Circumstances): Promise<Map<number, Left>> {
    const { journal, area } = this.#context;
    const present = await area.present();
    const left = new Map<number, Left>();
    for (const entry of journal.state.files.values()) {
      const stamp = present.has(entry.id) ? await stampOf(area.path(entry.id)) : undefined;
      present.delete(entry.id);
      const file = new LocalStaged(this.#context, this.#life, entry);
      if (now.otherBoot) distrustUnsynced(file);
      if (stamp) area.resized(entry.id, stamp.size);
      let fate = fateOf(entry, stamp, now);
      if (fate.kind === "cut") fate = await this.#cut(file, fate.to);
      left.set(entry.id, { file, inode: stamp?.inode, fate });
    }
    // Files of which no record has survived were never promised to anybody.
    for (const id of present) {
      journal.state.nextId = Math.max(journal.state.nextId, id + 1);
      await area.remove(id);
    }
    return left;
  }

  /** What was appended to a file since it was closed may not have reached the disk: it is as it was closed again. */
  async #cut(file: LocalStaged, { size, mtime }: FileStamp): Promise<Fate> {
    await file.local.truncate(size);
    await file.local.setMtime(mtime);
    await file.local.closeWriter();
    const stamp = file.local.stamp();
    file.journal({ t: "flush", id: file.id, ...stamp });
    await file.syncBytes(false);
    this.#context.area.resized(file.id, size);
    return { kind: "seal" };
  }

  /** Takes up a file, and what it held when it was closed where it was being rewritten. */
  async #takeUpWithKept(one: Left, left: ReadonlyMap<number, Left>): Promise<void> {
    const { journal, area } = this.#context;
    const { file } = one;
    const kept = file.entry.kept === undefined ? undefined : left.get(file.entry.kept);
    // It ended before an empty file had taken the place.
    const isSame = kept?.inode !== undefined && kept.inode === one.inode;
    if (isSame) {
      journal.add({ t: "drop", id: file.id });
      await journal.flush();
      await area.remove(file.id);
    } else await this.#takeUp(one);
    if (!kept) return;
    if (!this.#host.owns(file)) return await this.#takeUp(kept);
    this.#host.keep(kept.file, file);
    kept.file.inPlace = file.entry.keptInPlace;
    if (kept.fate.kind === "publish") kept.file.state = "sealed";
    else if (kept.fate.kind !== "seal" && kept.fate.kind !== "open") return this.#life.end.drop(kept.file);
    kept.file.isDoubtful = kept.file.entry.n > 0;
    this.#nameless.push(kept.file);
  }

  async #takeUp({ file, fate }: Left): Promise<void> {
    if (fate.kind === "lost") {
      this.#context.logger.error(
        { key: file.key },
        "a staged file is missing from the staging folder: it cannot be published",
      );
      this.#context.journal.add({ t: "drop", id: file.id });
      return;
    }
    this.#host.register(file);
    switch (fate.kind) {
      case "recover":
        this.#leavesHidden(file);
        return await this.#life.recover(file, fate.reason);
      case "finish":
        file.state = "published";
        return this.#life.end.letGo(file);
      case "open":
        file.state = "open";
        break;
      case "publish":
        file.state = "sealed";
        break;
      case "seal":
        file.state = "closed";
    }
    file.isDoubtful = file.entry.n > 0;
    this.#named.push(file);
  }

  /** What the file took the place of was removed before: without the file it does not come back. */
  #leavesHidden({ entry }: LocalStaged): void {
    const { hidden, kept, recovering } = entry;
    const { journal } = this.#context;
    // What is kept of the file has the name, and replaces the object.
    if (!hidden || kept !== undefined || recovering) return;
    journal.add({ t: "item", seq: journal.state.nextSeq++, item: { kind: "remove", ...hidden } });
  }

  /** Puts what was pending into the queue as it was before. */
  #startInOrder(): void {
    const { state } = this.#context.journal;
    for (const stray of state.strays.values()) {
      const restored = [...this.#named, ...this.#nameless];
      const owner = restored.find(({ entry }) => entry.uuid === stray.uuid);
      this.#context.queue.add(new StrayWork(this.#context, this.#host, stray, owner));
    }
    const starts: { seq: number; start: () => void }[] = [];
    for (const file of this.#named) if (file.state === "sealed") void this.#life.closedAgain(file);
    const kept = this.#nameless.filter((file) => !file.isGone);
    const files = [...this.#named, ...kept];
    for (const file of files) {
      if (file.state !== "sealed") continue;
      starts.push({ seq: file.entry.sealed!.seq, start: () => this.#life.enqueue(file, false) });
    }
    for (const [seq, item] of state.items) {
      starts.push({ seq, start: () => this.#host.startItem(seq, item) });
    }
    for (const { start } of starts.sort((a, b) => a.seq - b.seq)) start();
    for (const file of files) if (file.state === "closed" && !file.inPlace) this.#life.seal(file);
  }
}

/** After a power loss: what was fetched, or written where nothing was, and not synced may be zeros. */
function distrustUnsynced(file: LocalStaged): void {
  const { id, fetchedUnsynced, writtenUnsynced, synced, appendedTo } = file.entry;
  const doubtful = [
    ...fetchedUnsynced.ranges,
    ...(synced || appendedTo?.synced ? writtenUnsynced.ranges : []),
  ];
  const ranges = doubtful.map(({ start, end }) => [start, end] as const);
  if (ranges.length > 0) file.journal({ t: "lost", id, ranges });
  file.isUncertain = synced === undefined;
}

async function stampOf(path: string): Promise<(FileStamp & { inode: number }) | undefined> {
  try {
    const { size, mtimeMs, ino } = await stat(path);
    return { size, mtime: mtimeMs, inode: ino };
  } catch {
    return undefined;
  }
}
