/** Checkpoints below a prefix of a bucket. Objects appear whole; who writes them cannot be seen. */
import { HawserError } from "../../common/errors.ts";
import type { Bytes } from "../../common/units.ts";
import type { ListedObject, ObjectStore } from "../../store/object-store.ts";
import { formatS3 } from "../address.ts";
import { listObjects } from "../listing.ts";
import type { CheckpointPlace } from "./place.ts";
import { TOMBSTONE } from "./tombstone.ts";

export class BucketPlace implements CheckpointPlace {
  readonly kind = "s3";
  readonly isAtomic = true;
  readonly store: ObjectStore;
  /** Empty, or ends in a slash. */
  readonly prefix: string;

  constructor(store: ObjectStore, prefix: string) {
    this.store = store;
    this.prefix = prefix;
  }

  get label(): string {
    return formatS3(this.store.bucket, this.prefix.replace(/\/$/, ""));
  }

  async *list(start = "", signal?: AbortSignal): AsyncGenerator<ListedObject[]> {
    const cut = this.prefix.length;
    for await (const page of listObjects(this.store, this.prefix + start, { signal })) {
      yield page.flatMap((object) => {
        const key = object.key.slice(cut);
        // A folder's marker is none of its files.
        return key === "" || key.endsWith("/") ? [] : [{ ...object, key }];
      });
    }
  }

  async read(
    path: string,
    offset: Bytes,
    length: Bytes,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const target = new Uint8Array(length);
    try {
      const request = { key: this.prefix + path, ...(length > 0 ? { offset, length } : {}) };
      const { bytesRead } = await this.store.get(request, target, { reason: "bulk", signal });
      return target.subarray(0, bytesRead);
    } catch (error) {
      if (HawserError.is(error, "not_found")) return undefined;
      // An empty object has no range at all.
      if (HawserError.is(error) && error.httpStatus === 416) return new Uint8Array(0);
      throw error;
    }
  }

  beingWritten(): Promise<ReadonlySet<string>> {
    return Promise.resolve(new Set<string>());
  }

  async removeFiles(files: readonly ListedObject[], signal?: AbortSignal): Promise<void> {
    await this.#delete(
      files.map(({ key }) => this.prefix + key),
      signal,
    );
  }

  async removeFolder(path: string, files: readonly ListedObject[], signal?: AbortSignal): Promise<void> {
    const folder = `${this.prefix}${path}/`;
    const tombstone = folder + TOMBSTONE;
    await this.store.put(tombstone, new Uint8Array(0), { reason: "bulk", signal });
    const keys = files.map(({ key }) => this.prefix + key).filter((key) => key !== tombstone);
    await this.#delete(keys, signal);
    // With the folder's own marker, where somebody has made one.
    await this.#delete([folder, tombstone], signal);
  }

  async #delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    if (keys.length === 0) return;
    const [refused] = await this.store.deleteMany(keys, { reason: "bulk", signal });
    if (!refused) return;
    const code = refused.s3Code === "AccessDenied" ? "access_denied" : "store_failed";
    const place = formatS3(this.store.bucket, refused.key);
    throw new HawserError(code, `${place} cannot be removed: ${refused.message}.`, {
      s3Code: refused.s3Code,
    });
  }

  show(path: string): string {
    return formatS3(this.store.bucket, this.prefix + path);
  }
}
