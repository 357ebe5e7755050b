/**
 * Archives in the tar format, made the same from the same files: sorted names, no owners, no times unless given.
 *
 * Written here because it is small, because not every launcher's machine has the same tar, and because the nodes' tar
 * (GNU or BusyBox) reads it.
 */
import { createReadStream, readFileSync } from "node:fs";
import type { Bytes, EpochMs } from "../../common/units.ts";

export interface ArchiveEntry {
  /** Relative, with slashes. */
  path: string;
  /** Permission bits. */
  mode: number;
  mtimeMs?: EpochMs | undefined;
  content: { file: string; sizeBytes: Bytes } | { link: string } | { text: string } | "folder";
}

const BLOCK: Bytes = 512;
/** Files up to this are read whole. */
const SMALL: Bytes = 256 * 1024;

/** The archive, piece by piece. A file that changes its size meanwhile is cut or filled up to the size given. */
export async function* archive(entries: readonly ArchiveEntry[]): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    const { content } = entry;
    const sizeBytes =
      content === "folder" || "link" in content
        ? 0
        : "text" in content
          ? Buffer.byteLength(content.text)
          : content.sizeBytes;
    yield headers(entry, sizeBytes);
    if (content === "folder" || "link" in content) continue;
    if ("text" in content) yield Buffer.from(content.text);
    else yield* fileBytes(content.file, sizeBytes);
    if (sizeBytes % BLOCK > 0) yield Buffer.alloc(BLOCK - (sizeBytes % BLOCK));
  }
  yield Buffer.alloc(2 * BLOCK);
}

async function* fileBytes(file: string, sizeBytes: Bytes): AsyncGenerator<Buffer> {
  if (sizeBytes === 0) return;
  let left = sizeBytes;
  const pieces: AsyncIterable<Buffer> | Iterable<Buffer> =
    sizeBytes <= SMALL ? [readFileSync(file)] : createReadStream(file, { highWaterMark: 1024 * 1024 });
  for await (const piece of pieces) {
    const wanted = piece.subarray(0, left);
    left -= wanted.length;
    if (wanted.length > 0) yield wanted;
    if (left === 0) return;
  }
  yield Buffer.alloc(left);
}

/** A ustar header, with a pax header in front where a name is too long or not ASCII. */
function headers(entry: ArchiveEntry, sizeBytes: Bytes): Buffer {
  const { path, content } = entry;
  const link = typeof content === "object" && "link" in content ? content.link : "";
  const records: [string, string][] = [];
  if (!fits(path)) records.push(["path", path]);
  if (!fits(link)) records.push(["linkpath", link]);
  const type = content === "folder" ? "5" : link === "" ? "0" : "2";
  const own = header({ name: path, link, mode: entry.mode, sizeBytes, mtimeMs: entry.mtimeMs ?? 0, type });
  if (records.length === 0) return own;
  const body = Buffer.from(records.map(([key, value]) => paxRecord(key, value)).join(""));
  const padding = Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK);
  const pax = header({ name: "pax", link: "", mode: 0o644, sizeBytes: body.length, mtimeMs: 0, type: "x" });
  return Buffer.concat([pax, body, padding, own]);
}

function fits(name: string): boolean {
  return name.length <= 100 && /^[\x20-\x7e]*$/.test(name);
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length++;
  return `${length} ${key}=${value}\n`;
}

interface Header {
  name: string;
  link: string;
  mode: number;
  sizeBytes: Bytes;
  mtimeMs: EpochMs;
  type: string;
}

function header({ name, link, mode, sizeBytes, mtimeMs, type }: Header): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  };
  block.write(name.slice(0, 100), 0, 100, "latin1");
  octal(mode & 0o7777, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(sizeBytes, 124, 12);
  octal(Math.floor(mtimeMs / 1000), 136, 12);
  block.write("        ", 148, "latin1");
  block.write(type, 156, "latin1");
  block.write(link.slice(0, 100), 157, 100, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
