/**
 * Checkpoints in a local folder, or in one of a mounted volume, which is the same to us.
 *
 * What is a link is only ever unlinked, never followed, when it is removed.
 */
import { lstat, open, readFile, readdir, readlink, realpath, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bytes } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";
import { localError } from "../../common/local-error.ts";
import { walkFiles } from "../local-files.ts";
import { isPartial } from "../partial-name.ts";
import type { CheckpointPlace } from "./place.ts";
import { TOMBSTONE } from "./tombstone.ts";

/** The access mode of an open file: read-only is 0. */
const ACCESS_MODE = 0o3;

export class LocalPlace implements CheckpointPlace {
  readonly kind = "local";
  readonly isAtomic = false;
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  get label(): string {
    return this.folder;
  }

  async *list(start = "", signal?: AbortSignal): AsyncGenerator<ListedObject[]> {
    if (start === "") return yield* this.#walk("", signal);
    // What is beside it may be somebody's whole home.
    for (const name of (await this.#attempt("", (full) => readdir(full))).sort()) {
      if (isPartial(name) || !(name.startsWith(start) || start.startsWith(`${name}/`))) continue;
      const found = await stat(join(this.folder, name)).catch(() => undefined);
      if (found?.isDirectory()) {
        for await (const batch of this.#walk(`${name}/`, signal))
          yield batch.filter(({ key }) => key.startsWith(start));
      } else if (found?.isFile()) {
        yield [{ key: name, sizeBytes: found.size, mtimeMs: found.mtimeMs, etag: "" }];
      }
    }
  }

  async *#walk(below: string, signal: AbortSignal | undefined): AsyncGenerator<ListedObject[]> {
    const files = walkFiles(join(this.folder, below), {
      signal,
      onError: (_path, error) => {
        throw error;
      },
      onSpecial: () => undefined,
    });
    for await (const batch of files) {
      yield batch.map(({ path, sizeBytes, mtimeMs }) => ({
        key: below + path,
        sizeBytes,
        mtimeMs,
        etag: "",
      }));
    }
  }

  async read(path: string, offset: Bytes, length: Bytes): Promise<Uint8Array | undefined> {
    const full = join(this.folder, path);
    try {
      await using file = await open(full, "r");
      const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw localError(error, full);
    }
  }

  /** By /proc: of processes that this user may look into. */
  async beingWritten(): Promise<ReadonlySet<string>> {
    const real = await realpath(this.folder).catch(() => this.folder);
    const below = real === "/" ? real : `${real}/`;
    const found = new Set<string>();
    for (const pid of await namesIn("/proc")) {
      if (!/^\d+$/.test(pid)) continue;
      for (const fd of await namesIn(`/proc/${pid}/fd`)) {
        const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
        if (!target.startsWith(below)) continue;
        const about = await readFile(`/proc/${pid}/fdinfo/${fd}`, "utf8").catch(() => "");
        const flags = Number.parseInt(/^flags:\s+([0-7]+)$/m.exec(about)?.[1] ?? "0", 8);
        if ((flags & ACCESS_MODE) !== 0) found.add(target.slice(below.length));
      }
    }
    return found;
  }

  async removeFiles(files: readonly ListedObject[], signal?: AbortSignal): Promise<void> {
    for (const { key } of files) {
      signal?.throwIfAborted();
      await this.#attempt(key, (full) => rm(full, { force: true }));
    }
  }

  async removeFolder(path: string, _files: readonly ListedObject[], signal?: AbortSignal): Promise<void> {
    const isLink = await this.#attempt(path, async (full) => (await lstat(full)).isSymbolicLink());
    if (isLink) return await this.#attempt(path, (full) => rm(full));
    await this.#attempt(`${path}/${TOMBSTONE}`, (full) => writeFile(full, ""));
    for (const name of await this.#attempt(path, (full) => readdir(full))) {
      signal?.throwIfAborted();
      if (name === TOMBSTONE) continue;
      await this.#attempt(`${path}/${name}`, (full) => rm(full, { recursive: true, force: true }));
    }
    await this.#attempt(path, (full) => rm(full, { recursive: true, force: true }));
  }

  async #attempt<T>(path: string, action: (full: string) => Promise<T>): Promise<T> {
    const full = join(this.folder, path);
    try {
      return await action(full);
    } catch (error) {
      throw localError(error, full);
    }
  }

  show(path: string): string {
    return join(this.folder, path);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
