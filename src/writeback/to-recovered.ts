/**
 * ToRecovered: moves a staged file to `recovered/`, for a reason that is told.
 *
 * Whoever holds the file goes on with it. The journal has the name that it gets before it is moved, and drops it after,
 * so that the move may be repeated after a crash.
 */
import { HawserError } from "../common/errors.ts";
import type { Context } from "./context.ts";
import type { FileEnd } from "./file-end.ts";
import type { LifeHost } from "./file-life.ts";
import type { RecoverReason, RecoveredNote } from "./recovered.ts";
import type { LocalStaged } from "./staged-file.ts";
import type { LeftUnderName } from "./write-back.ts";

/** What ToRecovered asks of the others. */
type RecoverHost = Pick<LifeHost, "find" | "forget" | "abandoned">;

export class ToRecovered {
  readonly #context: Context;
  readonly #host: RecoverHost;
  readonly #end: FileEnd;

  constructor(context: Context, host: RecoverHost, end: FileEnd) {
    this.#context = context;
    this.#host = host;
    this.#end = end;
  }

  async move(file: LocalStaged, reason: RecoverReason): Promise<void> {
    if (file.isGone) return;
    const { journal, recovered, clock, area, logger } = this.#context;
    const { key, recovering } = file.entry;
    const name = recovering?.name ?? recovered.nameFor(file.id, key, clock.now());
    if (!recovering) await file.local.fd();
    file.journal({ t: "recover", id: file.id, name, reason });
    file.isMoving = true;
    file.content.journaled = false;
    this.#host.forget(file);
    await journal.flush();
    await recovered.take(area.path(file.id), name, () => this.#noteOf(file, reason));
    this.#context.fault("recover.moved");
    journal.add({ t: "drop", id: file.id });
    await journal.flush();
    this.#host.abandoned();
    area.forget(file.id);
    file.isMoving = false;
    file.state = "dropped";
    logger.warn({ key, reason, recovered: name }, "a file went to recovered/");
    const told = new HawserError(
      "object_changed",
      `${key} was not published (${reason}); it is in recovered/${name}.`,
    );
    file.lostAs = told;
    if (reason === "conflict" && file.waiters.size === 0) this.#context.conflicts.lost(key, name);
    // Whoever waits for what a killed program left half done has nothing to wait for.
    file.settle(Number.POSITIVE_INFINITY, reason === "torn" ? undefined : told);
    // To whoever listens by now: what a process before has left begins before anybody does.
    this.#context.events?.conflict(file, name, this.#leftUnderName(file, reason));
    if (file.holds === 0 && file.writers === 0) this.#end.letGo(file);
  }

  #leftUnderName(file: LocalStaged, reason: RecoverReason): LeftUnderName {
    const { key, base, hidden } = file.entry;
    const kept = this.#host.find(key);
    if (kept) return { file: kept, meta: kept.entry.meta, base: kept.entry.base };
    // Somebody else's object has come since the removal.
    if (reason === "conflict") return "object";
    return base.kind === "absent" || hidden?.key === key ? "nothing" : "object";
  }

  #noteOf(file: LocalStaged, reason: RecoverReason): RecoveredNote {
    const { key, base, missing, meta } = file.entry;
    const { size, mtime } = file.local.stamp();
    return {
      key,
      reason,
      sizeBytes: size,
      mtimeMs: mtime,
      recoveredMs: this.#context.clock.now(),
      base,
      missing: missing.ranges.map(({ start, end }) => [start, end] as const),
      meta,
    };
  }
}
