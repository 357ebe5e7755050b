/** Cache files: where they are and what their checksums are. */
import { randomInt } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { crc32c } from "../common/checksum.ts";
import { native } from "../common/native.ts";
import type { Bytes } from "../common/units.ts";
import { BLOCK, RANGE, blockCount } from "./blocks.ts";
import { closeFile, openFile, readFully } from "./fd-io.ts";

const FILES_PER_FOLDER_BITS = 10;
/** Where a new cache may begin to count folders. */
const FIRST_FOLDERS = 1 << 16;

/** Files made one after the other share a folder, of at most 1024. */
export function filePath(placePath: string, fileId: number): string {
  return join(placePath, "data", String(fileId >>> FILES_PER_FOLDER_BITS), String(fileId));
}

/**
 * Where ids begin that no file in the place has, whatever the index says. Makes the folder for data.
 *
 * ext4 chooses the place of a folder by its name. A new cache begins anywhere, so that it does not come to lie where one
 * was deleted a moment ago.
 */
export async function unusedFileIds(placePath: string): Promise<number> {
  const data = join(placePath, "data");
  await mkdir(data, { recursive: true, mode: 0o700 });
  native().spreadFolders(data);
  const folders = (await readdir(data)).map(Number).filter((folder) => folder >= 0);
  const next = folders.length === 0 ? randomInt(1, FIRST_FOLDERS) : Math.max(...folders) + 1;
  return next * 2 ** FILES_PER_FOLDER_BITS;
}

/** CRC32C of each block of a run that begins at a block. */
export function checksumsOf(bytes: Uint8Array): Uint32Array {
  const crcs = new Uint32Array(blockCount(bytes.length));
  for (let i = 0; i < crcs.length; i++) {
    crcs[i] = crc32c(bytes.subarray(i * BLOCK, Math.min((i + 1) * BLOCK, bytes.length)));
  }
  return crcs;
}

/** CRC32C of each block of a whole file. */
export async function checksumFile(path: string, sizeBytes: Bytes): Promise<Uint32Array> {
  const crcs = new Uint32Array(blockCount(sizeBytes));
  const buffer = new Uint8Array(Math.min(RANGE, sizeBytes));
  const fd = await openFile(path, "r");
  try {
    for (let at = 0; at < sizeBytes; at += RANGE) {
      const piece = buffer.subarray(0, Math.min(RANGE, sizeBytes - at));
      await readFully(fd, piece, at);
      crcs.set(checksumsOf(piece), at / BLOCK);
    }
  } finally {
    await closeFile(fd);
  }
  return crcs;
}
