/**
 * What a folder and a prefix had in common when they were last synchronized: for each path the file's size and time and
 * the object's ETag, in key order.
 *
 * It tells which side has changed since, and which files are the same although their times differ, without asking for
 * each. It is written anew with every sync, beside the old one, which it replaces at the end; what is missing in it only
 * costs questions. It lies in the user's state folder, a line a file.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import type { WriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { once } from "node:events";
import { dirname, join, resolve } from "node:path";
import type { Bytes, EpochMs } from "../common/units.ts";
import { transferStateFolder } from "./upload-state.ts";

export interface RecordedFile {
  path: string;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  etag: string;
}

const READ_BYTES: Bytes = 256 * 1024;
/** Lines on their way before whoever adds more has to wait. */
const MOST_PENDING = 4096;

/** Where the record of a pair lies. */
export function recordPath(
  folder: string,
  identity: string,
  prefix: string,
  state: string = transferStateFolder(),
): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([resolve(folder), identity, prefix]))
    .digest("hex");
  return join(state, "sync", `${hash.slice(0, 32)}.jsonl`);
}

/** The files of a record, in key order; none when there is no record. */
export async function* readRecord(path: string): AsyncGenerator<RecordedFile[]> {
  let rest = "";
  try {
    for await (const chunk of createReadStream(path, { encoding: "utf8", highWaterMark: READ_BYTES })) {
      const lines = (rest + (chunk as string)).split("\n");
      rest = lines.pop()!;
      const batch = lines.flatMap((line) => parseLine(line) ?? []);
      if (batch.length > 0) yield batch;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function parseLine(line: string): RecordedFile | undefined {
  try {
    const [path, sizeBytes, mtimeMs, etag] = JSON.parse(line) as unknown[];
    if (typeof path !== "string" || typeof etag !== "string") return undefined;
    if (typeof sizeBytes !== "number" || typeof mtimeMs !== "number") return undefined;
    return { path, sizeBytes, mtimeMs, etag };
  } catch {
    return undefined;
  }
}

/** The next record, while it is being written. */
export class RecordWriter {
  readonly #path: string;
  readonly #partial: string;
  #stream: WriteStream | undefined;
  #broken = false;
  /** Lines in order, those of files under way still to come. */
  #last: Promise<void> = Promise.resolve();
  #pending = 0;
  #roomy: (() => void) | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#partial = `${path}.${process.pid}`;
  }

  /** A state folder that cannot be written stops nothing: then there is no record. */
  async open(): Promise<void> {
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      const stream = createWriteStream(this.#partial, { mode: 0o600 });
      stream.on("error", () => (this.#broken = true));
      this.#stream = stream;
    } catch {
      this.#broken = true;
    }
  }

  /** Files must be added in key order; each may become known later, or turn out to be none. */
  async add(file: RecordedFile | Promise<RecordedFile | undefined>): Promise<void> {
    if (this.#broken) return;
    this.#pending++;
    this.#last = this.#last.then(async () => {
      const known = await file;
      if (--this.#pending <= MOST_PENDING) this.#roomy?.();
      if (known) await this.#write(known);
    });
    while (this.#pending > MOST_PENDING) await new Promise<void>((resolve) => (this.#roomy = resolve));
  }

  /** Puts it in the place of the last one. */
  async finish(): Promise<void> {
    await this.#last;
    const stream = this.#stream;
    if (!stream || this.#broken) return await this.abandon();
    stream.end();
    await once(stream, "close");
    await rename(this.#partial, this.#path).catch(() => undefined);
  }

  /** Leaves the last one. */
  async abandon(): Promise<void> {
    this.#stream?.destroy();
    await rm(this.#partial, { force: true }).catch(() => undefined);
  }

  async #write({ path, sizeBytes, mtimeMs, etag }: RecordedFile): Promise<void> {
    if (this.#broken) return;
    const stream = this.#stream!;
    if (stream.write(`${JSON.stringify([path, sizeBytes, mtimeMs, etag])}\n`)) return;
    await Promise.race([once(stream, "drain"), once(stream, "error")]).catch(() => undefined);
  }
}
