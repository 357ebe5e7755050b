/**
 * Barrier: what a flush waits for.
 *
 * Everything that was closed or renamed below a prefix, and what has to be known before nothing of it is left where it
 * does not belong. A file that is open is not waited for: nobody knows until when.
 */
import type { Context } from "./context.ts";
import type { CopySources } from "./copy-sources.ts";
import type { FileLife } from "./file-life.ts";
import { FileWork } from "./file-work.ts";
import type { ItemWork } from "./item-work.ts";
import type { LocalStaged } from "./staged-file.ts";
import { StrayWork } from "./stray-work.ts";
import { untilOrAborted } from "./work-queue.ts";
import type { Work } from "./work-queue.ts";

/** What Barrier asks of the owner of all files. */
export interface BarrierHost {
  files(): Iterable<LocalStaged>;
  items(): Iterable<ItemWork>;
  /** Looks again for what the store has not let us look for. */
  lookForUnresolved(): void;
  readonly sources: CopySources;
}

export class Barrier {
  readonly #context: Context;
  readonly #life: FileLife;
  readonly #host: BarrierHost;

  constructor(context: Context, life: FileLife, host: BarrierHost) {
    this.#context = context;
    this.#life = life;
    this.#host = host;
  }

  /** See WriteBack. */
  async flush(prefix: string, signal: AbortSignal | undefined): Promise<void> {
    const waits: Promise<void>[] = [];
    for (const file of this.#host.files()) {
      if (file.key.startsWith(prefix) && file.writers === 0 && !file.inPlace)
        waits.push(this.#flushFile(file));
    }
    for (const item of this.#host.items()) {
      if (item.keys.some((key) => key.startsWith(prefix))) waits.push(this.#flushItem(item));
    }
    this.#host.lookForUnresolved();
    const begun = this.#worksBelow(prefix);
    this.#hastenAll();
    const results = await this.#untilSettled(waits, signal);
    // What left an object where none belongs may be over by now, and the object's removal, which began after the above, not.
    const strays = new Set<Work>();
    for (let found = true; found;) {
      const works = new Set([...begun, ...this.#worksBelow(prefix)]);
      const late = [...works].filter((work) => mayLeaveStray(work) && !strays.has(work));
      for (const work of late) strays.add(work);
      results.push(
        ...(await this.#untilSettled(
          late.map((work) => this.#flushStray(work)),
          signal,
        )),
      );
      found = late.length > 0;
    }
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  #worksBelow(prefix: string): (FileWork | StrayWork)[] {
    return [...this.#context.queue.works()].filter(
      (work): work is FileWork | StrayWork =>
        (work instanceof FileWork || work instanceof StrayWork) && work.key.startsWith(prefix),
    );
  }

  async #untilSettled(
    waits: readonly Promise<void>[],
    signal: AbortSignal | undefined,
  ): Promise<PromiseSettledResult<void>[]> {
    const settled = Promise.allSettled(waits);
    return signal ? await untilOrAborted(settled, signal) : await settled;
  }

  async #flushFile(file: LocalStaged): Promise<void> {
    if ((await this.#life.untilSealed(file)) && !file.isGone) await this.#life.toBucket(file);
  }

  /** See WriteBack. */
  async settled(key: string): Promise<void> {
    const waits: Promise<void>[] = [];
    for (const item of this.#host.items()) if (item.keys.includes(key)) waits.push(item.settled());
    if (waits.length === 0) return;
    this.#hastenAll();
    await Promise.all(waits);
  }

  /** What may have made an object that nobody wants any more: then that has been removed as well. */
  async #flushStray(work: FileWork | StrayWork): Promise<void> {
    await this.#context.queue.over(work);
    if (work.unresolved) throw work.unresolved;
    const removals = [...this.#host.items()].filter(({ keys }) => keys.includes(work.key));
    this.#hastenAll();
    await Promise.all(removals.map((item) => this.#flushItem(item)));
  }

  /** An object that an open file is to be copied from stays as long as that is open: nobody waits for a close. */
  async #flushItem(item: ItemWork): Promise<void> {
    const settled = item.settled().then(() => true);
    // It may fail when nobody waits for it any more.
    settled.catch(() => undefined);
    for (;;) {
      if (!item.acted && item.vanishing !== undefined && this.#host.sources.writerNeeding(item.vanishing))
        return;
      const changed = this.#host.sources.change().then(() => false);
      if (await Promise.race([settled, changed])) return;
    }
  }

  /** What was sealed before may hold back what is to be flushed, whatever its prefix. */
  #hastenAll(): void {
    for (const work of this.#context.queue.works()) work.hasten();
  }
}

/** A work after which an object may be where none belongs. */
function mayLeaveStray(work: FileWork | StrayWork): boolean {
  return work instanceof StrayWork || work.isGivenUp;
}
