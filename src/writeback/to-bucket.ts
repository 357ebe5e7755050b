/**
 * ToBucket: brings a file to the bucket now, for a program that waits for it (fsync, a close with `--on-close bucket`, a
 * flush).
 *
 * What is closed is hastened, with all that its place in the order waits for. A file that is open, or mapped for
 * writing, is published as it is: such a content is `live`, its number is journaled before it is read, and callers that
 * come before it is read share it. Whoever comes later may have written what it does not hold, and gets the next one.
 */
import type { Context } from "./context.ts";
import type { FileEnd } from "./file-end.ts";
import type { FileLife, LifeHost } from "./file-life.ts";
import type { FileWork } from "./file-work.ts";
import type { LocalStaged } from "./staged-file.ts";
import type { Work } from "./work-queue.ts";

export class ToBucket {
  readonly #context: Context;
  readonly #host: Pick<LifeHost, "sources" | "nextSeq">;
  readonly #life: FileLife;
  readonly #end: FileEnd;

  constructor(context: Context, host: Pick<LifeHost, "sources" | "nextSeq">, life: FileLife, end: FileEnd) {
    this.#context = context;
    this.#host = host;
    this.#life = life;
    this.#end = end;
  }

  /** Resolves when what was written so far is in the bucket. @throws the failure that stays */
  async until(file: LocalStaged): Promise<void> {
    // What went to `recovered/` is not in the bucket, however often it is asked.
    if (file.lostAs) throw file.lostAs;
    if (file.isGone) return;
    if (await this.#life.untilSealed(file)) {
      if (file.state === "published") return;
      const reached = file.reached(file.generation);
      this.#hastenWithBlockers(file.work);
      if (await reached) return;
      // It is rewritten from scratch: what was closed is what was asked for.
      if (file.kept && !file.kept.inPlace) return await this.until(file.kept);
    }
    await this.#liveAfterThePresent(file);
  }

  /** Whoever waits for a work waits for those before it, and for files that are copied from what it replaces. */
  #hastenWithBlockers(work: FileWork | undefined): void {
    const hastened = new Set<Work>();
    const waiting: Work[] = work ? [work] : [];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      if (hastened.has(next)) continue;
      hastened.add(next);
      next.hasten();
      waiting.push(...this.#context.queue.before(next));
      for (const file of this.#host.sources.needing(next.key)) if (file.work) waiting.push(file.work);
    }
  }

  /** Callers that come before the file is read share one publication. */
  async #liveAfterThePresent(file: LocalStaged): Promise<void> {
    file.liveNext ??= (async (present) => {
      await present;
      const mine = file.liveNext!;
      // Whoever comes from here on may have written what this one does not read.
      file.liveNext = undefined;
      file.live = mine.catch(() => undefined);
      await this.#publishLive(file);
    })(file.live ?? Promise.resolve());
    await file.liveNext;
  }

  /** What was kept need not be published before: what the program asked for takes its place. */
  async #publishLive(file: LocalStaged): Promise<void> {
    const { kept } = file;
    if (kept) this.#end.giveUp(kept);
    try {
      await this.#publishOpen(file);
    } finally {
      if (kept && !kept.isGone && kept.state !== "published") this.#life.enqueue(kept, false);
    }
  }

  async #publishOpen(file: LocalStaged): Promise<void> {
    const { journal, clock } = this.#context;
    while (!file.isGone) {
      const n = file.entry.n + 1;
      file.journal({ t: "turn", id: file.id, n });
      await file.local.fd();
      const work = this.#life.newWork(file, {
        key: file.key,
        n,
        seq: this.#host.nextSeq(),
        stamp: file.local.stamp(),
        generation: file.generation,
        live: true,
        dueMs: clock.monotonic(),
      });
      await journal.flush();
      const outcome = new Promise<boolean>((resolve, reject) => {
        work.outcome = { resolve, reject };
      });
      this.#life.start(work);
      this.#hastenWithBlockers(work);
      if (await outcome) return;
    }
  }
}
