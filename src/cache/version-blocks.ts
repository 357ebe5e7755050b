/**
 * VersionBlocks: what memory holds of one object version.
 *
 * It lives as long as a reader is open or an extent exists; `Memory` owns the extents, this is only their map.
 */
import type { ObjectVersion } from "./content.ts";
import { fingerprintOf } from "./disk-entry.ts";
import type { Extent } from "./extent.ts";

export class VersionBlocks {
  /** Replaced by an equal one that knows the store's version id, once an opener does. */
  version: ObjectVersion;
  readonly id: string;
  /** Extent by each block it covers, loading ones included. */
  readonly extents = new Map<number, Extent>();
  /** Its name in the disk index; made when first needed. */
  #fingerprint: string | undefined;
  /** The disk did not give it although it is there: for now it comes from S3. */
  avoidDisk = false;
  readonly #onIdle: (blocks: VersionBlocks) => void;
  /** Open readers and work under way. */
  #holders = 0;

  /** @param onIdle called when nobody holds it and nothing of it is in memory any more */
  constructor(version: ObjectVersion, onIdle: (blocks: VersionBlocks) => void) {
    this.version = version;
    this.id = versionId(version);
    this.#onIdle = onIdle;
  }

  get fingerprint(): string {
    this.#fingerprint ??= fingerprintOf(this.id);
    return this.#fingerprint;
  }

  hold(): void {
    this.#holders++;
  }

  letGo(): void {
    this.#holders--;
    this.#checkIdle();
  }

  add(extent: Extent): void {
    for (let block = extent.firstBlock; block < extent.endBlock; block++) this.extents.set(block, extent);
  }

  remove(extent: Extent): void {
    for (let block = extent.firstBlock; block < extent.endBlock; block++) {
      if (this.extents.get(block) === extent) this.extents.delete(block);
    }
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#holders === 0 && this.extents.size === 0) this.#onIdle(this);
  }
}

/** Names a version among all of one bucket. */
export function versionId(version: ObjectVersion): string {
  return `${version.etag}\0${version.sizeBytes}\0${version.key}`;
}
