/**
 * Buckets: the owner of all state. Operations ask it to change something; it makes the change whole.
 *
 * A change of a key happens under the key's lock, in this order: the condition is checked, bytes are placed, the index
 * changes, the event is recorded, displaced bytes are let go. Readers need no lock: what they found in the index stays
 * readable once opened.
 */
import { randomBytes } from "node:crypto";

import type { EpochMs } from "../../common/units.ts";
import type { Backing, StateEvent } from "../backing/backing.ts";
import { emptyContent, type Content } from "../backing/content.ts";
import { s3Error } from "../errors.ts";
import { Bucket, NULL_VERSION } from "./bucket.ts";
import { KeyLocks } from "./locks.ts";
import type { ObjectVersion, Upload, UploadPart } from "./model.ts";

/** A version before it has an id and a place. */
export type ObjectDraft = Omit<ObjectVersion, "versionId" | "isDeleteMarker" | "content">;

/** Throws when the change must not happen; given the live version, if any. */
export type Condition = (live: ObjectVersion | undefined) => void;

/** What a DELETE did. */
export interface Deletion {
  versionId: string | undefined;
  isDeleteMarker: boolean;
}

export class Buckets {
  readonly #buckets = new Map<string, Bucket>();
  readonly #locks = new KeyLocks();
  readonly backing: Backing;
  readonly #region: string;

  /** @param region of buckets that do not say */
  constructor(backing: Backing, region: string) {
    this.backing = backing;
    this.#region = region;
  }

  /** Takes up what the backing holds. Call once, before anything else. */
  async load(): Promise<void> {
    for await (const event of this.backing.load()) this.#apply(event);
    await this.backing.compact(this.#snapshot());
  }

  /** The events that would lead to the present state. */
  *#snapshot(): Generator<StateEvent> {
    for (const bucket of this.#buckets.values()) {
      const { name, region, createdMs } = bucket;
      yield { t: "bucket", name, region, createdMs };
      for (const [setting, value] of bucket.settings)
        yield { t: "setting", bucket: name, name: setting, value };
      for (const cursor = bucket.index.seek(""); cursor.entry; cursor.next()) {
        for (const version of cursor.entry.versions.toReversed()) yield { t: "put", bucket: name, version };
      }
      for (const upload of bucket.uploads.values()) {
        yield { t: "upload", bucket: name, upload };
        for (const part of upload.parts.values())
          yield { t: "part", bucket: name, uploadId: upload.uploadId, part };
      }
    }
  }

  get(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (!bucket) throw s3Error("NoSuchBucket", undefined, { elements: { BucketName: name } });
    return bucket;
  }

  find(name: string): Bucket | undefined {
    return this.#buckets.get(name);
  }

  all(): Bucket[] {
    return [...this.#buckets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(name: string, region: string, createdMs: EpochMs): Promise<Bucket> {
    await this.#commit({ t: "bucket", name, region, createdMs });
    return this.get(name);
  }

  async delete(name: string): Promise<void> {
    const bucket = this.get(name);
    if (!bucket.isEmpty) throw s3Error("BucketNotEmpty");
    for (const upload of bucket.uploads.values()) await this.endUpload(bucket, upload);
    await this.#commit({ t: "bucket-gone", name });
  }

  async set(bucket: Bucket, name: string, value: string | null): Promise<void> {
    await this.#commit({ t: "setting", bucket: bucket.name, name, value });
  }

  /** Makes `content` the current version of a key. On rejection the content is discarded. */
  async put(
    bucket: Bucket,
    draft: ObjectDraft,
    content: Content,
    condition?: Condition,
  ): Promise<ObjectVersion> {
    return this.#locks.run(`${bucket.name}/${draft.key}`, async () => {
      try {
        condition?.(bucket.live(draft.key));
      } catch (error) {
        await this.backing.discard(bucket.name, draft.key, content);
        throw error;
      }
      const versionId = newVersionId(bucket);
      await this.#makeRoom(bucket, draft.key, versionId);
      const placed = await this.backing.place(bucket.name, draft.key, content);
      const version: ObjectVersion = { ...draft, versionId, isDeleteMarker: false, content: placed };
      await this.#putVersion(bucket, version);
      return version;
    });
  }

  /** DELETE without a version: removes the object, or covers it with a delete marker where versions are kept. */
  async deleteCurrent(bucket: Bucket, key: string, nowMs: EpochMs, condition?: Condition): Promise<Deletion> {
    return this.#locks.run(`${bucket.name}/${key}`, async () => {
      condition?.(bucket.live(key));
      if (bucket.versioning === "") {
        await this.#removeVersion(bucket, key, NULL_VERSION);
        return { versionId: undefined, isDeleteMarker: false };
      }
      const versionId = newVersionId(bucket);
      await this.#makeRoom(bucket, key, versionId);
      await this.#putVersion(bucket, deleteMarker(key, versionId, nowMs));
      return { versionId, isDeleteMarker: true };
    });
  }

  /** DELETE of one version. Succeeds when there is none. */
  async deleteVersion(bucket: Bucket, key: string, versionId: string): Promise<Deletion> {
    return this.#locks.run(`${bucket.name}/${key}`, async () => {
      const removed = await this.#removeVersion(bucket, key, versionId);
      return { versionId, isDeleteMarker: removed?.isDeleteMarker ?? false };
    });
  }

  /** Changes what is said about a version, not its bytes. */
  async update(bucket: Bucket, version: ObjectVersion): Promise<void> {
    await this.#locks.run(`${bucket.name}/${version.key}`, async () => {
      // The bytes may have moved aside since the caller looked.
      const now = bucket.version(version.key, version.versionId);
      if (!now) throw s3Error("NoSuchKey");
      await this.#commit({ t: "update", bucket: bucket.name, version: { ...version, content: now.content } });
    });
  }

  /** Looks again at a key whose file is not the one recorded. */
  async refresh(bucket: Bucket, key: string): Promise<ObjectVersion | undefined> {
    return this.#locks.run(`${bucket.name}/${key}`, async () => {
      const adopted = await this.backing.adopt(bucket.name, key);
      const live = bucket.live(key);
      if (adopted && adopted.etag !== live?.etag)
        await this.#commit({ t: "put", bucket: bucket.name, version: adopted });
      else if (!adopted && live)
        await this.#commit({ t: "gone", bucket: bucket.name, key, versionId: live.versionId });
      return bucket.live(key);
    });
  }

  async startUpload(bucket: Bucket, upload: Upload): Promise<void> {
    await this.#commit({ t: "upload", bucket: bucket.name, upload });
  }

  /** Adds a part, in place of an earlier one with its number. */
  async addPart(bucket: Bucket, upload: Upload, part: UploadPart): Promise<void> {
    if (bucket.uploads.get(upload.uploadId) !== upload) {
      await this.backing.discard(bucket.name, upload.key, part.content);
      throw s3Error("NoSuchUpload");
    }
    const displaced = upload.parts.get(part.partNumber);
    await this.#commit({ t: "part", bucket: bucket.name, uploadId: upload.uploadId, part });
    if (displaced) await this.backing.discard(bucket.name, upload.key, displaced.content);
  }

  /** Ends an upload and discards its parts, except those whose bytes an object uses now. */
  async endUpload(bucket: Bucket, upload: Upload, used: ReadonlySet<Content> = new Set()): Promise<void> {
    await this.#commit({ t: "upload-gone", bucket: bucket.name, uploadId: upload.uploadId });
    for (const part of upload.parts.values()) {
      if (!used.has(part.content)) await this.backing.discard(bucket.name, upload.key, part.content);
    }
  }

  /** The current version's bytes move aside when it stays as an older version. */
  async #makeRoom(bucket: Bucket, key: string, newId: string): Promise<void> {
    const current = bucket.entry(key)?.versions[0];
    if (!current || current.isDeleteMarker || current.versionId === newId) return;
    const content = await this.backing.setAside(bucket.name, key, current.content);
    if (content !== current.content) {
      await this.#commit({ t: "update", bucket: bucket.name, version: { ...current, content } });
    }
  }

  async #putVersion(bucket: Bucket, version: ObjectVersion): Promise<void> {
    const displaced = bucket.version(version.key, version.versionId);
    await this.#commit({ t: "put", bucket: bucket.name, version });
    if (displaced) await this.backing.discard(bucket.name, version.key, displaced.content, version.content);
  }

  async #removeVersion(bucket: Bucket, key: string, versionId: string): Promise<ObjectVersion | undefined> {
    const version = bucket.version(key, versionId);
    if (!version) return undefined;
    await this.#commit({ t: "gone", bucket: bucket.name, key, versionId });
    await this.backing.discard(bucket.name, key, version.content);
    return version;
  }

  /** Index first, so that nobody sees the key between two states; the record follows. */
  async #commit(event: StateEvent): Promise<void> {
    this.#apply(event);
    await this.backing.record(event);
  }

  #apply(event: StateEvent): void {
    switch (event.t) {
      case "bucket":
        this.#buckets.set(event.name, new Bucket(event.name, event.region || this.#region, event.createdMs));
        return;
      case "bucket-gone":
        this.#buckets.delete(event.name);
        return;
    }
    const bucket = this.#buckets.get(event.bucket);
    if (!bucket) return;
    switch (event.t) {
      case "setting":
        if (event.value === null) bucket.settings.delete(event.name);
        else bucket.settings.set(event.name, event.value);
        return;
      case "put":
        bucket.put(event.version);
        return;
      case "update":
        bucket.update(event.version);
        return;
      case "gone":
        bucket.remove(event.key, event.versionId);
        return;
      case "upload":
        bucket.uploads.set(event.upload.uploadId, event.upload);
        return;
      case "part":
        bucket.uploads.get(event.uploadId)?.parts.set(event.part.partNumber, event.part);
        return;
      case "upload-gone":
        bucket.uploads.delete(event.uploadId);
    }
  }
}

function newVersionId(bucket: Bucket): string {
  return bucket.versioning === "Enabled" ? randomBytes(24).toString("base64url") : NULL_VERSION;
}

function deleteMarker(key: string, versionId: string, nowMs: EpochMs): ObjectVersion {
  return {
    key,
    versionId,
    isDeleteMarker: true,
    mtimeMs: nowMs,
    sizeBytes: 0,
    etag: "",
    content: emptyContent,
    headers: {},
    metadata: {},
    tags: {},
    storageClass: "STANDARD",
    sse: {},
  };
}
