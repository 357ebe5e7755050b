/**
 * Folder backing: buckets are subfolders, objects plain files where their keys are paths.
 *
 * `FOLDER/BUCKET/a/b.txt` is the object `a/b.txt`. What no plain file can be (odd keys, a key that is also a folder,
 * older versions, parts of uploads) is a blob below `FOLDER/.hawser-dev-s3/`, beside the journal of everything that
 * files cannot say: metadata, ETags, tags, versions. Files that the journal does not know appear as objects.
 *
 * Bytes are always written to a blob first and renamed into place, so nobody sees half an object. A path below the
 * folder is made of the bucket's name and checked components, and passes no symbolic link.
 */
import { constants } from "node:fs";
import { copyFile, lstat, mkdir, open, readdir, rename, rmdir, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { randomUUID } from "node:crypto";

import { MiB, type Bytes } from "../../common/units.ts";
import type { ObjectVersion } from "../state/model.ts";
import type { Backing, StateEvent } from "./backing.ts";
import { emptyContent, type Content, type ContentDescription, type ContentWriter } from "./content.ts";
import { copyChunks } from "./file-bytes.ts";
import { BlobWriter, FileContent } from "./file-content.ts";
import { Journal } from "./journal.ts";
import { pathComponents } from "./paths.ts";
import { readEvent, writeEvent, type WrittenEvent } from "./records.ts";
import { adoptedVersion, scan } from "./scan.ts";
import { SyntheticContent } from "./synthetic.ts";

const SIDE_FOLDER = ".hawser-dev-s3";
const BUCKET_FOLDER = /^[a-z0-9][a-z0-9.-]+$/;
/** A folder that was empty may be removed while another key is put into it. */
const MAX_PLACE_TRIES = 100;

export class FolderBacking implements Backing {
  readonly #root: string;
  readonly #blobs: string;
  readonly #journal: Journal;
  /** Folders known to exist and to be no links. */
  readonly #realFolders = new Set<string>();

  private constructor(root: string) {
    this.#root = root;
    this.#blobs = join(root, SIDE_FOLDER, "blobs");
    this.#journal = new Journal(join(root, SIDE_FOLDER, "journal.jsonl"));
  }

  static async open(folder: string): Promise<FolderBacking> {
    const backing = new FolderBacking(resolve(folder));
    await mkdir(backing.#blobs, { recursive: true });
    return backing;
  }

  /** The journal, corrected by what is on disk now. */
  async *load(): AsyncGenerator<StateEvent> {
    const buckets = new Set<string>();
    const plain = new Map<string, { bucket: string; key: string; versionId: string; content: Content }>();
    const revive = this.#revive.bind(this);
    for await (const line of this.#journal.replay()) {
      const event = readEvent(line as WrittenEvent, revive);
      if (event.t === "bucket") buckets.add(event.name);
      else if (event.t === "bucket-gone") buckets.delete(event.name);
      else if (event.t === "put" || event.t === "update") {
        const { bucket, version } = event;
        const { key, versionId, content } = version;
        const known = plain.get(`${bucket}/${key}`);
        if (content instanceof FileContent && content.blobId === undefined) {
          plain.set(`${bucket}/${key}`, { bucket, key, versionId, content });
        } else if (known?.versionId === versionId) plain.delete(`${bucket}/${key}`);
      } else if (event.t === "gone") {
        const known = plain.get(`${event.bucket}/${event.key}`);
        if (known?.versionId === event.versionId) plain.delete(`${event.bucket}/${event.key}`);
      }
      yield event;
    }
    for (const entry of await readdir(this.#root, { withFileTypes: true })) {
      if (!entry.isDirectory() || !BUCKET_FOLDER.test(entry.name)) continue;
      const bucket = entry.name;
      if (!buckets.has(bucket)) {
        const { mtimeMs } = await lstat(join(this.#root, bucket));
        yield { t: "bucket", name: bucket, region: "", createdMs: mtimeMs };
      }
      for await (const file of scan(join(this.#root, bucket))) {
        const known = plain.get(`${bucket}/${file.key}`);
        const version = adoptedVersion(file);
        plain.delete(`${bucket}/${file.key}`);
        if (known && sameFile(known.content, version.content)) continue;
        yield { t: "put", bucket, version };
      }
    }
    for (const { bucket, key, versionId } of plain.values()) yield { t: "gone", bucket, key, versionId };
  }

  async compact(state: Iterable<StateEvent>): Promise<void> {
    const used = new Set<string>();
    function* lines(): Generator<WrittenEvent> {
      for (const event of state) {
        const line = writeEvent(event);
        const content =
          "version" in line ? line.version.content : "part" in line ? line.part.content : undefined;
        if (content?.at === "blob") used.add(content.id);
        yield line;
      }
    }
    await this.#journal.rewrite(lines());
    for (const id of await readdir(this.#blobs)) if (!used.has(id)) await unlink(join(this.#blobs, id));
  }

  #revive(bucket: string, key: string, description: ContentDescription): Content {
    switch (description.at) {
      case "key": {
        const path = join(this.#root, bucket, ...(pathComponents(key) ?? [randomUUID()]));
        return new FileContent(path, description.sizeBytes, BigInt(description.mtimeNs), undefined);
      }
      case "blob":
        return new FileContent(join(this.#blobs, description.id), description.sizeBytes, 0n, description.id);
      case "synthetic":
        return new SyntheticContent(description.sizeBytes, description.seed, description.offset);
      case "nowhere":
        return emptyContent;
    }
  }

  writer(_sizeBytes: Bytes): BlobWriter {
    const id = randomUUID();
    return new BlobWriter(join(this.#blobs, id), id);
  }

  async place(bucket: string, key: string, content: Content): Promise<Content> {
    const components = pathComponents(key);
    if (!(content instanceof FileContent) || !components) return content;
    const target = join(this.#root, bucket, ...components);
    for (let tries = 0; tries < MAX_PLACE_TRIES; tries++) {
      if (!(await this.#makeFolder(bucket, components.slice(0, -1)))) return content;
      try {
        await rename(content.path, target);
        return content.movedTo(target, undefined);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") return content;
        this.#realFolders.clear();
      }
    }
    return content;
  }

  /** @returns false where something that is no folder is in the way */
  async #makeFolder(bucket: string, components: readonly string[]): Promise<boolean> {
    let folder = join(this.#root, bucket);
    if (this.#realFolders.has(join(folder, ...components))) return true;
    for (const name of ["", ...components]) {
      folder = join(folder, name);
      if (this.#realFolders.has(folder)) continue;
      try {
        await mkdir(folder);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return true; // Removed meanwhile: rename will tell.
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") return false;
        const found = await lstat(folder).catch(() => undefined);
        if (found && !found.isDirectory()) return false;
      }
      this.#realFolders.add(folder);
    }
    return true;
  }

  async setAside(_bucket: string, _key: string, content: Content): Promise<Content> {
    if (!(content instanceof FileContent) || content.blobId !== undefined) return content;
    const id = randomUUID();
    const path = join(this.#blobs, id);
    await rename(content.path, path);
    return content.movedTo(path, id);
  }

  async copy(source: Content, offset: Bytes, length: Bytes): Promise<Content> {
    if (source instanceof SyntheticContent) return source.range(offset, length);
    if (source instanceof FileContent && offset === 0 && length === source.sizeBytes)
      return this.#copyFile(source);
    const writer = this.writer(length);
    try {
      await copyChunks(source, offset, length, writer);
      return await writer.finish();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  /** By the kernel, and by reference where the file system can. The open file is copied, whatever its path means by then. */
  async #copyFile(source: FileContent): Promise<FileContent> {
    const id = randomUUID();
    const path = join(this.#blobs, id);
    const file = await source.openFile();
    try {
      await copyFile(`/proc/self/fd/${file.fd}`, path, constants.COPYFILE_FICLONE);
    } finally {
      await file.close();
    }
    const { mtimeNs } = await lstat(path, { bigint: true });
    return new FileContent(path, source.sizeBytes, mtimeNs, id);
  }

  async join(parts: readonly Content[]): Promise<Content> {
    const [first, ...rest] = parts;
    if (rest.length === 0) return first!;
    if (!(first instanceof FileContent)) return this.#joinInto(this.writer(0), parts);
    // The first part's own file grows: one part less to copy.
    return this.#joinInto(await AppendingWriter.open(first), rest);
  }

  async #joinInto(writer: ContentWriter, parts: readonly Content[]): Promise<Content> {
    for (const part of parts) {
      await copyChunks(part, 0, part.sizeBytes, writer);
      await this.discard("", "", part);
    }
    return writer.finish();
  }

  async discard(bucket: string, _key: string, content: Content, kept?: Content): Promise<void> {
    if (!(content instanceof FileContent)) return;
    if (kept instanceof FileContent && kept.path === content.path) return;
    await unlink(content.path).catch(() => {});
    if (content.blobId === undefined) await this.#prune(join(this.#root, bucket), dirname(content.path));
  }

  /** Removes folders that hold nothing any more: in S3 a folder ends with its last key. */
  async #prune(top: string, start: string): Promise<void> {
    for (let folder = start; folder.startsWith(`${top}/`); folder = dirname(folder)) {
      this.#realFolders.delete(folder);
      try {
        await rmdir(folder);
      } catch {
        return;
      }
    }
  }

  async adopt(bucket: string, key: string): Promise<ObjectVersion | undefined> {
    const components = pathComponents(key);
    if (!components) return undefined;
    let path = join(this.#root, bucket);
    for (const [i, name] of components.entries()) {
      path = join(path, name);
      const stat = await lstat(path, { bigint: true }).catch(() => undefined);
      if (i < components.length - 1) {
        if (!stat?.isDirectory()) return undefined;
      } else if (stat?.isFile()) return adoptedVersion({ key, path, stat });
    }
    return undefined;
  }

  async record(event: StateEvent): Promise<void> {
    if (event.t === "bucket") await mkdir(join(this.#root, event.name), { recursive: true });
    if (event.t === "bucket-gone") await this.#removeEmptyFolders(join(this.#root, event.name));
    await this.#journal.append(writeEvent(event));
  }

  async #removeEmptyFolders(folder: string): Promise<void> {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) await this.#removeEmptyFolders(join(folder, entry.name));
    }
    this.#realFolders.delete(folder);
    await rmdir(folder).catch(() => {});
  }

  close(): Promise<void> {
    return this.#journal.close();
  }
}

function sameFile(a: Content, b: Content): boolean {
  return JSON.stringify(a.describe()) === JSON.stringify(b.describe());
}

/** Continues a blob that is already there. */
class AppendingWriter implements ContentWriter {
  readonly #content: FileContent;
  readonly #file: Awaited<ReturnType<typeof open>>;
  #length: Bytes;

  private constructor(content: FileContent, file: Awaited<ReturnType<typeof open>>) {
    this.#content = content;
    this.#file = file;
    this.#length = content.sizeBytes;
  }

  static async open(content: FileContent): Promise<AppendingWriter> {
    return new AppendingWriter(content, await open(content.path, "r+"));
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      const { bytesWritten } = await this.#file.write(
        chunk,
        at,
        Math.min(MiB, chunk.length - at),
        this.#length,
      );
      at += bytesWritten;
      this.#length += bytesWritten;
    }
  }

  async finish(): Promise<Content> {
    const { mtimeNs } = await this.#file.stat({ bigint: true });
    await this.#file.close();
    return new FileContent(this.#content.path, this.#length, mtimeNs, this.#content.blobId);
  }

  async abort(): Promise<void> {
    await this.#file.close();
  }
}
