/**
 * RecordLog: state that survives, as an append-only file of checked records.
 *
 * The file is a header (what kind of log, which version of its records) and frames: length, CRC32C of length and
 * payload, payload. State is what replaying the frames gives. A frame that is torn, zero or damaged ends the replay:
 * everything before it counts, it and the rest are cut off before the first append.
 *
 * Appends collect in memory while an earlier write is under way and go out together (group commit). `flush` says that
 * they survive this process, `sync` that they survive the machine. Compaction writes a new file beside the old one and
 * renames it into place; what is appended meanwhile goes to both, so **records must mean the same when replayed twice**.
 */
import { writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32c } from "./checksum.ts";
import { DiskPace } from "./disk-pace.ts";
import { HawserError } from "./errors.ts";
import { KiB, MiB } from "./units.ts";
import type { Bytes, Milliseconds } from "./units.ts";

const MAGIC = "HAWSRLOG";
const HEADER_BYTES: Bytes = 24;
const FRAME_BYTES: Bytes = 8;
/** A length above this is damage, not a record. */
const LONGEST_RECORD: Bytes = 16 * MiB;
const REPLAY_CHUNK: Bytes = 4 * MiB;
const COMPACTION_CHUNK: Bytes = MiB;
/** What is written at once while the disk keeps pace. */
const AT_ONCE: Bytes = 64 * KiB;

export interface LogFormat {
  /** Four ASCII characters: what the records are about. */
  kind: string;
  /** Version of the records' format. */
  version: number;
}

export interface Replay {
  /** `new`: there was no log. `other`: a log of another kind or version, of which nothing was read. */
  found: "new" | "log" | "other";
  records: number;
  /** Where the readable part ends. */
  goodBytes: Bytes;
  /** What comes after it and cannot be read. */
  lostBytes: Bytes;
}

export interface RecordLogOptions extends LogFormat {
  path: string;
  /** A log of another kind or version is started anew or refused; `refuse` when absent. */
  onOther?: "restart" | "refuse" | undefined;
  /** How long records may collect before they are written though nobody flushes; the end of the turn when absent. */
  lingerMs?: Milliseconds | undefined;
}

/** @param record valid during the call only */
export type OnRecord = (record: Buffer) => void;

/**
 * Reads a log that somebody else may be writing, and changes nothing.
 *
 * @returns what was found; a missing file is `new`
 */
export async function replayLog(path: string, format: LogFormat, onRecord: OnRecord): Promise<Replay> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { found: "new", records: 0, goodBytes: 0, lostBytes: 0 };
  }
  try {
    return await replayFile(file, format, onRecord);
  } finally {
    await file.close();
  }
}

export class RecordLog {
  readonly #path: string;
  readonly #format: LogFormat;
  readonly #lingerMs: Milliseconds;
  #file: FileHandle;
  /** Where the next write goes: everything before it is written and whole. */
  #position: Bytes;
  #pending: FrameBuffer = new FrameBuffer();
  #spare: FrameBuffer = new FrameBuffer();
  #writing: Promise<void> | undefined;
  #scheduled = false;
  readonly #pace = new DiskPace();
  /** Frames appended since a compaction began. */
  #sinceCompaction: FrameBuffer | undefined;
  #closed = false;

  private constructor(path: string, options: RecordLogOptions, file: FileHandle, position: Bytes) {
    this.#path = path;
    this.#format = options;
    this.#lingerMs = options.lingerMs ?? 0;
    this.#file = file;
    this.#position = position;
  }

  /**
   * Opens or creates the log and replays what it holds.
   *
   * @throws HawserError `not_supported` for a log of another kind or version, unless it is to be restarted
   */
  static async open(
    options: RecordLogOptions,
    onRecord: OnRecord,
  ): Promise<{ log: RecordLog; replay: Replay }> {
    const { path } = options;
    const replay = await replayLog(path, options, onRecord);
    if (replay.found === "other" && options.onOther !== "restart") {
      throw new HawserError("not_supported", `${path} was written by another version of Hawser.`);
    }
    await rm(`${path}.new`, { force: true });
    const file = await open(path, replay.found === "log" ? "r+" : "w+", 0o600);
    try {
      const header = encodeHeader(options);
      await file.write(header, 0, HEADER_BYTES, 0);
      const end = Math.max(HEADER_BYTES, replay.goodBytes);
      await file.truncate(end);
      return { log: new RecordLog(path, options, file, end), replay };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Bytes of the log, those still to be written included. */
  get sizeBytes(): Bytes {
    return this.#position + this.#pending.length + (this.#writing ? this.#spare.length : 0);
  }

  /** Adds a record of 1 byte to 16 MiB, which is copied. It is on its way to the file; `flush` tells when it is there. */
  append(record: Uint8Array): void {
    if (this.#closed) throw new HawserError("closed", `${this.#path} is closed.`);
    this.#pending.add(record);
    this.#sinceCompaction?.add(record);
    if (this.#writing || this.#scheduled) return;
    this.#scheduled = true;
    const write = (): void => {
      this.#scheduled = false;
      // A failure is told to whoever flushes; the frames stay pending until then.
      this.#write().catch(() => undefined);
    };
    if (this.#lingerMs === 0) setImmediate(write);
    else setTimeout(write, this.#lingerMs).unref();
  }

  /**
   * Resolves when everything appended so far is in the file: it survives the end of this process.
   *
   * @throws the file system's error; what was not written is kept and tried again by the next append or flush
   */
  async flush(): Promise<void> {
    if (this.#writing) await this.#writing.catch(() => undefined);
    await this.#write();
  }

  /** Resolves when everything appended so far survives a power loss. */
  async sync(): Promise<void> {
    await this.flush();
    await this.#file.datasync();
  }

  /** The records in the file, in batches that are valid until the next is asked for: what a compaction goes through. */
  async *records(): AsyncGenerator<Buffer[]> {
    const file = await open(this.#path, "r");
    try {
      yield* readFrames(file, { at: HEADER_BYTES });
    } finally {
      await file.close();
    }
  }

  /**
   * Replaces the log by `records`, followed by what is appended while they are written. Crash-safe: until the rename the
   * old log is complete, after it the new one is. One compaction at a time.
   */
  async compact(records: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    if (this.#sinceCompaction) throw new HawserError("internal", "A compaction is already under way.");
    const since = new FrameBuffer();
    this.#sinceCompaction = since;
    try {
      // What was appended before is in the file when the caller's records are asked for, what comes after is in `since`.
      await this.flush();
      const old = await this.#rewrite(records, since);
      await old.close();
    } finally {
      this.#sinceCompaction = undefined;
    }
    await syncFolder(dirname(this.#path));
  }

  /** Writes what is pending and closes. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.flush();
    } finally {
      await this.#file.close();
    }
  }

  /** @returns the file that was in use so far */
  async #rewrite(
    records: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    since: FrameBuffer,
  ): Promise<FileHandle> {
    const newPath = `${this.#path}.new`;
    const file = await open(newPath, "w+", 0o600);
    try {
      let position = HEADER_BYTES;
      await file.write(encodeHeader(this.#format), 0, HEADER_BYTES, 0);
      const frames = new FrameBuffer();
      for await (const record of records) {
        frames.add(record);
        if (frames.length < COMPACTION_CHUNK) continue;
        position += await frames.drainTo(file, position);
      }
      position += await frames.drainTo(file, position);
      position += await since.drainTo(file, position);
      await file.datasync();
      return await this.#switchTo(file, newPath, position, since);
    } catch (error) {
      await file.close();
      await rm(newPath, { force: true });
      throw error;
    }
  }

  /** Ends the old file and takes up the new one; writes wait meanwhile. */
  async #switchTo(
    file: FileHandle,
    newPath: string,
    position: Bytes,
    since: FrameBuffer,
  ): Promise<FileHandle> {
    while (this.#writing) await this.#writing.catch(() => undefined);
    const old = this.#file;
    const switching = (async () => {
      const end = position + (await since.drainTo(file, position));
      // Somebody may already have been told that these records are safe: they were, in the old file.
      await file.datasync();
      await rename(newPath, this.#path);
      this.#file = file;
      this.#position = end;
      // All that is pending was in `since` too: what the last drain has not written is still there.
      this.#pending.clear();
      this.#pending.take(since);
    })();
    this.#writing = switching.finally(() => (this.#writing = undefined));
    await this.#writing;
    return old;
  }

  async #write(): Promise<void> {
    while (this.#writing) await this.#writing.catch(() => undefined);
    if (this.#pending.length === 0) return;
    const frames = this.#pending;
    this.#pending = this.#spare;
    this.#spare = frames;
    this.#writing = this.#writeOut(frames);
    await this.#writing;
    if (this.#pending.length > 0 && !this.#scheduled) await this.#write();
  }

  async #writeOut(frames: FrameBuffer): Promise<void> {
    try {
      this.#position += await frames.writeTo(this.#file, this.#position, this.#pace);
      frames.clear();
    } catch (error) {
      // The same bytes go to the same place next time, ahead of what was appended meanwhile.
      frames.take(this.#pending);
      this.#spare = this.#pending;
      this.#pending = frames;
      throw error;
    } finally {
      this.#writing = undefined;
    }
  }
}

/** Frames in one growing buffer. */
class FrameBuffer {
  #bytes = Buffer.allocUnsafe(4096);
  length: Bytes = 0;

  add(record: Uint8Array): void {
    if (record.length === 0 || record.length > LONGEST_RECORD) {
      throw new HawserError("internal", `A record of ${record.length} bytes does not fit a log.`);
    }
    this.#reserve(FRAME_BYTES + record.length);
    const at = this.length;
    this.#bytes.writeUInt32LE(record.length, at);
    this.#bytes.set(record, at + FRAME_BYTES);
    const start = crc32c(this.#bytes.subarray(at, at + 4));
    this.#bytes.writeUInt32LE(crc32c(record, start), at + 4);
    this.length = at + FRAME_BYTES + record.length;
  }

  /** Moves all frames of `other` behind ours. */
  take(other: FrameBuffer): void {
    this.#reserve(other.length);
    this.#bytes.set(other.#bytes.subarray(0, other.length), this.length);
    this.length += other.length;
    other.clear();
  }

  clear(): void {
    this.length = 0;
  }

  async writeTo(file: FileHandle, position: Bytes, pace?: DiskPace): Promise<Bytes> {
    const isSmall = this.length <= AT_ONCE;
    let done = 0;
    while (done < this.length) {
      const left = this.length - done;
      const later = async (): Promise<Bytes> =>
        (await file.write(this.#bytes, done, left, position + done)).bytesWritten;
      const now = (): Bytes => writeSync(file.fd, this.#bytes, done, left, position + done);
      done += await (pace && isSmall ? pace.run(now, later) : later());
    }
    return done;
  }

  /** Writes and removes what is there now; frames may be added meanwhile. */
  async drainTo(file: FileHandle, position: Bytes): Promise<Bytes> {
    const now = new FrameBuffer();
    now.take(this);
    return now.writeTo(file, position);
  }

  #reserve(more: Bytes): void {
    const needed = this.length + more;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
}

function encodeHeader(format: LogFormat): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.write(format.kind.slice(0, 4), 8, "latin1");
  header.writeUInt32LE(format.version, 12);
  header.writeUInt32LE(crc32c(header.subarray(0, 20)), 20);
  return header;
}

/** A header that is damaged says nothing: the frames behind it still speak for themselves. */
function isOtherFormat(header: Buffer, format: LogFormat): boolean {
  if (header.readUInt32LE(20) !== crc32c(header.subarray(0, 20))) return false;
  return !header.equals(encodeHeader(format));
}

async function replayFile(file: FileHandle, format: LogFormat, onRecord: OnRecord): Promise<Replay> {
  const { size } = await file.stat();
  const header = Buffer.alloc(HEADER_BYTES);
  const { bytesRead } = await file.read(header, 0, HEADER_BYTES, 0);
  if (bytesRead < HEADER_BYTES) return { found: "new", records: 0, goodBytes: 0, lostBytes: bytesRead };
  if (isOtherFormat(header, format)) return { found: "other", records: 0, goodBytes: 0, lostBytes: size };
  const position = { at: HEADER_BYTES };
  let records = 0;
  for await (const batch of readFrames(file, position)) {
    for (const record of batch) onRecord(record);
    records += batch.length;
  }
  return { found: "log", records, goodBytes: position.at, lostBytes: Math.max(0, size - position.at) };
}

/**
 * Reads whole frames in batches, each valid until the next is asked for; ends at the first that is not whole.
 *
 * @param position where to begin; moved behind what was yielded
 */
async function* readFrames(file: FileHandle, position: { at: Bytes }): AsyncGenerator<Buffer[]> {
  let bytes = Buffer.allocUnsafe(REPLAY_CHUNK);
  for (;;) {
    const { bytesRead: filled } = await file.read(bytes, 0, bytes.length, position.at);
    const batch: Buffer[] = [];
    let at = 0;
    let needed = FRAME_BYTES;
    while (at + FRAME_BYTES <= filled) {
      const length = bytes.readUInt32LE(at);
      needed = FRAME_BYTES + length;
      if (length === 0 || length > LONGEST_RECORD || at + needed > filled) break;
      const record = bytes.subarray(at + FRAME_BYTES, at + needed);
      if (crc32c(record, crc32c(bytes.subarray(at, at + 4))) !== bytes.readUInt32LE(at + 4)) break;
      batch.push(record);
      at += needed;
    }
    position.at += at;
    if (batch.length > 0) yield batch;
    else if (filled < bytes.length || needed <= bytes.length || needed > FRAME_BYTES + LONGEST_RECORD) return;
    // A frame longer than what is read at once.
    else bytes = Buffer.allocUnsafe(needed);
  }
}

/** Makes a rename in `path` survive a power loss. Some file systems refuse to sync a folder; then they need not. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
  } finally {
    await folder.close();
  }
}
