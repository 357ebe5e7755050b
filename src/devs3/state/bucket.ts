/**
 * Bucket: keys, their versions, uploads under way and settings, in memory.
 *
 * Versions of a key are ordered newest first; the first one is current. A bucket that never kept versions has exactly
 * one per key, with the id `null`. Nothing here waits: a change is whole when the call returns, and what it displaced
 * is handed back so that the owner can let go of its bytes.
 */
import type { EpochMs } from "../../common/units.ts";
import type { ObjectVersion, Upload, Versioning } from "./model.ts";
import { SortedKeys, sortKeyOf } from "./sorted-keys.ts";

export const NULL_VERSION = "null";

/** A key and everything stored under it. */
export interface KeyEntry {
  readonly key: string;
  readonly sortKey: string;
  /** Newest first; never empty while the entry is indexed. */
  readonly versions: ObjectVersion[];
}

export class Bucket {
  readonly name: string;
  readonly region: string;
  readonly createdMs: EpochMs;
  readonly index = new SortedKeys<KeyEntry>();
  readonly uploads = new Map<string, Upload>();
  /** Subresource documents by name (`lifecycle`, `cors`, …), and `versioning`. */
  readonly settings = new Map<string, string>();
  readonly #entries = new Map<string, KeyEntry>();

  constructor(name: string, region: string, createdMs: EpochMs) {
    this.name = name;
    this.region = region;
    this.createdMs = createdMs;
  }

  get versioning(): Versioning {
    return (this.settings.get("versioning") ?? "") as Versioning;
  }

  get isEmpty(): boolean {
    return this.index.size === 0;
  }

  entry(key: string): KeyEntry | undefined {
    return this.#entries.get(key);
  }

  /** The current version unless it is a delete marker. */
  live(key: string): ObjectVersion | undefined {
    const current = this.#entries.get(key)?.versions[0];
    return current?.isDeleteMarker ? undefined : current;
  }

  version(key: string, versionId: string): ObjectVersion | undefined {
    return this.#entries.get(key)?.versions.find((version) => version.versionId === versionId);
  }

  /** Makes `version` current. Returns the version with the same id that it displaced, if any. */
  put(version: ObjectVersion): ObjectVersion | undefined {
    let entry = this.#entries.get(version.key);
    if (!entry) {
      entry = { key: version.key, sortKey: sortKeyOf(version.key), versions: [] };
      this.#entries.set(version.key, entry);
      this.index.add(entry);
    }
    const { versions } = entry;
    const same = versions.findIndex((other) => other.versionId === version.versionId);
    const displaced = same < 0 ? undefined : versions.splice(same, 1)[0];
    versions.unshift(version);
    return displaced;
  }

  /** Replaces a version in its place in the order: its tags or its restore state changed. */
  update(version: ObjectVersion): void {
    const versions = this.#entries.get(version.key)?.versions;
    const at = versions?.findIndex((other) => other.versionId === version.versionId) ?? -1;
    if (at >= 0) versions![at] = version;
  }

  /** Removes one version for good. */
  remove(key: string, versionId: string): ObjectVersion | undefined {
    const entry = this.#entries.get(key);
    const at = entry?.versions.findIndex((version) => version.versionId === versionId) ?? -1;
    if (at < 0) return undefined;
    const [removed] = entry!.versions.splice(at, 1);
    if (entry!.versions.length === 0) {
      this.#entries.delete(key);
      this.index.remove(entry!.sortKey);
    }
    return removed;
  }
}
