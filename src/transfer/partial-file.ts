/**
 * A large file arriving in ranges, which a later run can take up.
 *
 * Its content lies under the partial name, at full length from the start; beside it lies a state file: a line that says
 * which object version it is, then one line for each range that is there, with its CRC. A rerun believes a range only
 * when its bytes still have that CRC: so neither a kill in the middle of a write nor a power failure can leave a hole
 * that looks like content. The lock on the partial file keeps two processes apart.
 */
import { constants, ftruncateSync, futimesSync, writeSync } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { crcCombiner, CRC32C_POLYNOMIAL, CRC64NVME_POLYNOMIAL } from "../common/crc-combine.ts";
import { crc32c, crc32cBase64, crc64nvme, crc64nvmeBase64 } from "../common/checksum.ts";
import { HawserError } from "../common/errors.ts";
import { tryNative } from "../common/native.ts";
import { MiB } from "../common/units.ts";
import type { Bytes, EpochMs } from "../common/units.ts";
import type { DiskWrites } from "./disk-writes.ts";
import { inItsFolder, placeError } from "./place-file.ts";
import { partialPath, partialStatePath } from "./partial-name.ts";

/** What must be equal for a partial file to be taken up. */
export interface PartialIdentity {
  /** Store and bucket. */
  store: string;
  key: string;
  etag: string;
  sizeBytes: Bytes;
  rangeBytes: Bytes;
  algorithm: "crc32c" | "crc64nvme";
}

export class PartialFile {
  readonly target: string;
  readonly identity: PartialIdentity;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #state: FileHandle;
  /** By range; undefined for those that are missing. */
  readonly #crcs: (bigint | undefined)[];
  readonly #disk: DiskWrites;
  #closed = false;

  private constructor(
    target: string,
    identity: PartialIdentity,
    files: { path: string; file: FileHandle; state: FileHandle },
    crcs: (bigint | undefined)[],
    disk: DiskWrites,
  ) {
    this.target = target;
    this.identity = identity;
    this.#path = files.path;
    this.#file = files.file;
    this.#state = files.state;
    this.#crcs = crcs;
    this.#disk = disk;
  }

  /**
   * Takes up what is there of this version, or begins anew.
   *
   * @throws HawserError `would_block` while another process writes it, `no_space`, `permission_denied`, …
   */
  static async open(target: string, identity: PartialIdentity, disk: DiskWrites): Promise<PartialFile> {
    return await inItsFolder(target, () => PartialFile.#openAt(partialPath(target), target, identity, disk));
  }

  static async #openAt(
    path: string,
    target: string,
    identity: PartialIdentity,
    disk: DiskWrites,
  ): Promise<PartialFile> {
    const there = await stat(target).catch(() => undefined);
    if (there && !there.isFile()) {
      throw Object.assign(new Error("not a regular file"), {
        code: there.isDirectory() ? "EISDIR" : "ENXIO",
      });
    }
    const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
    const file = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o666);
    try {
      if (tryNative()?.flockExclusive(file.fd) === false) {
        throw Object.assign(new Error("locked"), { code: "EBUSY" });
      }
      const state = await open(partialStatePath(path), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0o666);
      try {
        const crcs = await takeUp(file, state, identity);
        return new PartialFile(target, identity, { path, file, state }, crcs, disk);
      } catch (error) {
        // Nothing of it fits: it would only be in the way.
        await rm(path, { force: true });
        await rm(partialStatePath(path), { force: true });
        await state.close();
        throw error;
      }
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get rangeCount(): number {
    return this.#crcs.length;
  }

  get fd(): number {
    return this.#file.fd;
  }

  has(range: number): boolean {
    return this.#crcs[range] !== undefined;
  }

  boundsOf(range: number): { offset: Bytes; length: Bytes } {
    return boundsOf(this.identity, range);
  }

  /** Bytes that need not come again. */
  get presentBytes(): Bytes {
    let bytes = 0;
    for (let at = 0; at < this.#crcs.length; at++) if (this.has(at)) bytes += this.boundsOf(at).length;
    return bytes;
  }

  /** Writes a range that has arrived, when the disk has a place for it. @throws HawserError `no_space`, … */
  async write(range: number, bytes: Uint8Array): Promise<void> {
    try {
      const crc = await this.#disk.range(() => this.#place(this.boundsOf(range).offset, bytes));
      // At once: the thread pool is where the writes are, and the line would wait behind them.
      writeSync(this.#state.fd, `${range} ${crc.toString(16)}\n`);
      this.#crcs[range] = crc;
    } catch (error) {
      throw placeError(error, this.target);
    }
  }

  /** @returns the CRC of what was written */
  async #place(offset: Bytes, bytes: Uint8Array): Promise<bigint> {
    const { algorithm } = this.identity;
    const addon = tryNative();
    if (addon) {
      const crcs = algorithm === "crc32c" ? new Uint32Array(1) : new BigUint64Array(1);
      await addon.writeBlocks(this.#path, bytes, offset, bytes.length, crcs, -1, true, false);
      return BigInt(crcs[0]!);
    }
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
    return algorithm === "crc32c" ? BigInt(crc32c(bytes)) : crc64nvme(bytes);
  }

  /** The whole content's checksum, base64 as S3 writes it. Every range must be there. */
  checksum(): string {
    const { algorithm } = this.identity;
    const combiner =
      algorithm === "crc32c" ? crcCombiner(32, CRC32C_POLYNOMIAL) : crcCombiner(64, CRC64NVME_POLYNOMIAL);
    let whole = 0n;
    for (const [range, crc] of this.#crcs.entries()) {
      if (crc === undefined)
        throw new HawserError("internal", `Range ${range} of ${this.target} is missing.`);
      whole = range === 0 ? crc : combiner.combine(whole, crc, this.boundsOf(range).length);
    }
    return algorithm === "crc32c" ? crc32cBase64(Number(whole)) : crc64nvmeBase64(whole);
  }

  /** Dates the file and gives it its name. @throws HawserError */
  async finish(mtimeMs: EpochMs): Promise<void> {
    try {
      try {
        futimesSync(this.#file.fd, mtimeMs / 1000, mtimeMs / 1000);
      } catch {
        // Who may write a file and not date it still has its content.
      }
      await rename(this.#path, this.target);
      await rm(partialStatePath(this.#path), { force: true });
      await this.close();
    } catch (error) {
      throw placeError(error, this.target);
    }
  }

  /** Leaves it for a later run. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#state.close();
    await this.#file.close();
  }

  /** Throws away what has arrived. */
  async discard(): Promise<void> {
    await rm(this.#path, { force: true });
    await rm(partialStatePath(this.#path), { force: true });
    await this.close();
  }
}

function boundsOf(
  { sizeBytes, rangeBytes }: PartialIdentity,
  range: number,
): { offset: Bytes; length: Bytes } {
  const offset = range * rangeBytes;
  return { offset, length: Math.min(rangeBytes, sizeBytes - offset) };
}

/** Reads the state, checks the ranges it names, and makes both files ready to go on. */
async function takeUp(
  file: FileHandle,
  state: FileHandle,
  identity: PartialIdentity,
): Promise<(bigint | undefined)[]> {
  const crcs = Array.from<bigint | undefined>({
    length: Math.ceil(identity.sizeBytes / identity.rangeBytes),
  });
  const [head, ...lines] = (await state.readFile("utf8")).split("\n");
  const wanted = JSON.stringify(identity);
  if (head === wanted) {
    // The last line may be half a line.
    for (const line of lines.slice(0, -1)) {
      const match = /^(\d+) ([0-9a-f]+)$/.exec(line);
      const range = Number(match?.[1] ?? Number.NaN);
      if (match && range < crcs.length) crcs[range] = BigInt(`0x${match[2]}`);
    }
    await forgetBroken(file, identity, crcs);
  } else ftruncateSync(file.fd, 0);
  await makeRoom(file, identity.sizeBytes);
  const present = crcs.flatMap((crc, range) => (crc === undefined ? [] : [`${range} ${crc.toString(16)}\n`]));
  await state.truncate(0);
  await state.appendFile(`${wanted}\n${present.join("")}`);
  return crcs;
}

/** The file at its full length: a disk without the room for it says so before anything was fetched. */
async function makeRoom(file: FileHandle, sizeBytes: Bytes): Promise<void> {
  ftruncateSync(file.fd, sizeBytes);
  try {
    await tryNative()?.fallocate(file.fd, 0, 0, sizeBytes);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Not every file system can.
    if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") throw error;
  }
}

const CHECK_BYTES: Bytes = MiB;

/** Forgets the ranges whose bytes are not what the state says. */
async function forgetBroken(
  file: FileHandle,
  identity: PartialIdentity,
  crcs: (bigint | undefined)[],
): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHECK_BYTES);
  for (const [range, crc] of crcs.entries()) {
    if (crc === undefined) continue;
    const { offset, length } = boundsOf(identity, range);
    let found = 0n;
    let at = 0;
    while (at < length) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(CHECK_BYTES, length - at), offset + at);
      if (bytesRead === 0) break;
      const bytes = buffer.subarray(0, bytesRead);
      found =
        identity.algorithm === "crc32c" ? BigInt(crc32c(bytes, Number(found))) : crc64nvme(bytes, found);
      at += bytesRead;
    }
    if (at < length || found !== crc) crcs[range] = undefined;
  }
}
