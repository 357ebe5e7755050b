/**
 * FileEnd: how a staged file leaves a key, and how it ends.
 *
 * Its name is taken by a rename or a removal, and then whatever may yet appear under the key, or only we know of there, is
 * looked for and removed; or it is published, and then its bytes are the cache's. The local file stays for as long as
 * somebody holds it, and is not unlinked before the journal says that nobody wants it.
 */
import type { Context } from "./context.ts";
import { versionOf } from "./file-entry.ts";
import type { LifeHost } from "./file-life.ts";
import type { Sealing } from "./sealing.ts";
import type { LocalStaged } from "./staged-file.ts";

/** What FileEnd asks of the others. */
type EndHost = Pick<LifeHost, "forget" | "removeOrphan" | "abandoned" | "leavesDoubtful">;

export class FileEnd {
  readonly #context: Context;
  readonly #host: EndHost;
  readonly #sealing: Sealing;

  constructor(context: Context, host: EndHost, sealing: Sealing) {
    this.#context = context;
    this.#host = host;
    this.#sealing = sealing;
  }

  /** Before a rename: notes what may yet appear under the present key. */
  leaveKey(file: LocalStaged): void {
    this.leaveHidden(file);
    file.work = undefined;
    for (const work of file.works) {
      if (work.giveUpForRename()) work.withdraw();
      else work.noteStray();
    }
    this.#leaveDoubt(file);
  }

  /** The name was removed. */
  drop(file: LocalStaged): void {
    const { journal } = this.#context;
    if (file.kept) this.drop(file.kept);
    this.#sealing.stop(file);
    this.leaveHidden(file);
    file.work = undefined;
    for (const work of file.works) {
      if (work.giveUp()) work.withdraw();
      else work.noteStray();
    }
    this.#leaveDoubt(file);
    journal.add({ t: "drop", id: file.id });
    file.content.journaled = false;
    if (file.writers === 0) file.state = "dropped";
    this.#host.forget(file);
    this.#host.abandoned();
    file.settle(Number.POSITIVE_INFINITY);
    if (file.holds === 0 && file.writers === 0) this.letGo(file);
  }

  /** What is queued of it is not to be published as it was. */
  giveUp(file: LocalStaged): void {
    const { work } = file;
    file.work = undefined;
    // What is read from a copy goes on: its outcome is the new base.
    if (work?.snapshot === undefined && work?.giveUp()) work.withdraw();
  }

  /** The process before may have sent contents to the key whose answers it did not live to see. */
  #leaveDoubt(file: LocalStaged): void {
    if (!file.isDoubtful) return;
    file.isDoubtful = false;
    this.#host.leavesDoubtful(file);
  }

  /** An object that only we know of stays behind under the key. What is kept of a file has the name with it. */
  leaveHidden(file: LocalStaged): void {
    const { hidden } = file.entry;
    if (hidden && !file.keptFor) this.#host.removeOrphan(hidden.key, hidden.etag);
  }

  /** Nobody holds the file. */
  letGo(file: LocalStaged): void {
    if (file.isMoving) return;
    if (file.isGone && file.writers === 0) void this.#unlink(file);
    else if (file.state === "published") void this.handOver(file);
    else if (file.state !== "open" && this.#context.area.isCrowded) file.local.rest();
  }

  /** Not before the journal says that nobody wants it. */
  async #unlink(file: LocalStaged): Promise<void> {
    const { journal, area, closing } = this.#context;
    area.forget(file.id);
    await file.local.close();
    await journal.flush().catch(() => undefined);
    if (!closing.aborted) await area.remove(file.id);
  }

  /** It is published and nobody holds it: its bytes are the cache's now. */
  async handOver(file: LocalStaged): Promise<void> {
    const { adopt, area, logger, journal, fault } = this.#context;
    const { uploaded } = file.entry;
    if (file.isGone) return;
    if (file.kept) this.drop(file.kept);
    file.content.journaled = false;
    this.#host.forget(file);
    fault("adopt.before");
    let adopted = false;
    try {
      if (adopt && uploaded && file.content.isLocal && !file.isUncertain)
        adopted = await adopt(area.path(file.id), versionOf(uploaded), file.blockSumsOf(uploaded.etag));
    } catch (error) {
      logger.warn({ err: error, key: file.key }, "the cache could not take a published file");
    }
    journal.add({ t: "drop", id: file.id });
    fault("adopt.after");
    area.forget(file.id);
    await file.local.close();
    if (!adopted) await area.remove(file.id);
  }
}
