/** openWriteBack: puts the parts of one volume's write-back together and takes up what was pending. */
import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { GiB, MiB } from "../common/units.ts";
import { BodyBuffers } from "./body-buffers.ts";
import { Conflicts } from "./conflicts.ts";
import type { Context, WriteBackOptions, WriteBackParts } from "./context.ts";
import { Engine } from "./engine.ts";
import { Journal, readBootId } from "./journal.ts";
import { Beginnings } from "./multipart-begin.ts";
import { DEFAULT_PART_BYTES } from "./part-plan.ts";
import { PendingMoves } from "./pending-moves.ts";
import { RecoveredFolder } from "./recovered.ts";
import { StagingArea } from "./staging-area.ts";
import { UploadSlots } from "./upload-slots.ts";
import { WorkQueue } from "./work-queue.ts";
import type { WriteBack } from "./write-back.ts";

export const DEFAULT_WRITE_BACK_OPTIONS: WriteBackOptions = {
  stagingSize: 100 * GiB,
  keepFree: 512 * MiB,
  earlyUpload: 4 * GiB,
  fsync: "bucket",
  publish: "ordered",
  onClose: "local",
  partBytes: DEFAULT_PART_BYTES,
  uploads: 32,
  uploadMemory: 96 * MiB,
  put: {},
};

/**
 * Opens the write-back of a volume. What a process before has left is pending again when this resolves; nothing is told
 * to anybody before `onEvents`.
 *
 * @throws HawserError `not_supported` when another version wrote the journal, `no_space`, `io_error`
 */
export async function openWriteBack(parts: WriteBackParts): Promise<WriteBack> {
  const { store, stagingDir, stateDir = stagingDir, clock, logger, demandWaiting } = parts;
  const options = { ...DEFAULT_WRITE_BACK_OPTIONS, ...parts.options };
  const fault = parts.faultPoint ?? (() => undefined);
  const bootId = parts.bootId ?? (await readBootId());
  const closing = new AbortController();
  // Every work listens to it.
  setMaxListeners(0, closing.signal);
  let draining = (): boolean => false;
  const area = new StagingArea({
    folder: join(stagingDir, "files"),
    limitBytes: options.stagingSize,
    keepFreeBytes: options.keepFree,
    clock,
    draining: () => draining(),
  });
  await area.prepare();
  const recovered = new RecoveredFolder(stateDir);
  await recovered.prepare();
  const { journal, replay } = await Journal.open(join(stateDir, "journal"), bootId, fault);
  if (replay.lostBytes > 0 || replay.unknown > 0) {
    logger.warn(
      { lostBytes: replay.lostBytes, unknown: replay.unknown },
      "the journal's end could not be read",
    );
  }
  const said = new Set<string>();
  const context: Context = {
    store,
    readBase: parts.readBase,
    adopt: parts.adopt,
    clock,
    logger,
    options,
    random: parts.random ?? Math.random,
    fault,
    openedMs: clock.monotonic(),
    journal,
    area,
    recovered,
    conflicts: new Conflicts(recovered),
    queue: new WorkQueue(options.publish === "ordered"),
    beginnings: new Beginnings(),
    moves: new PendingMoves(),
    slots: new UploadSlots({
      total: options.uploads,
      whileReading: Math.max(1, Math.floor(options.uploads / 4)),
      ...(demandWaiting ? { reading: demandWaiting } : {}),
    }),
    buffers: new BodyBuffers(options.uploadMemory),
    closing: closing.signal,
    sayOnce(topic, message, error) {
      if (said.has(topic)) return;
      said.add(topic);
      logger.warn({ err: error }, message);
    },
    events: undefined,
  };
  const engine = new Engine(context, closing);
  draining = () => engine.isDraining;
  try {
    await engine.recover({ otherBoot: replay.otherBoot, connectionKept: parts.connection === "kept" });
    return engine;
  } catch (error) {
    await engine.close();
    throw error;
  }
}
