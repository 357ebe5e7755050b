/**
 * Metadata source: what objects say of themselves, where the volume asks them (`metadata: full`).
 *
 * One HEAD an unknown name, kept for as long as its row keeps its version: the tree tells when it does not. A folder's
 * metadata is its marker object's; most have none. HEADs are limited in number, so that a walk of a large folder
 * leaves connections to the readers.
 */
import { HawserError } from "../common/errors.ts";
import type { ObjectInfo, ObjectStore } from "../store/object-store.ts";
import { isSpecial } from "./file-type.ts";
import { Double, Flag } from "./inode-segment.ts";
import type { Row } from "./inode-table.ts";
import { readObjectMetadata } from "./object-metadata.ts";
import type { FileMetadata } from "./object-metadata.ts";
import type { Tree } from "./tree.ts";

/** HEADs under way at once. */
const MAX_HEADS = 32;
/** Longest symlink target that the kernel follows, and so the largest object that can be one. */
export const MAX_TARGET_BYTES = 4095;

/** What a writable volume knows of rows. */
export interface MetadataHooks {
  /** The key that a row's object is still under, where that is not the path's. */
  keyOf(row: Row): string | undefined;
  learned(row: Row, metadata: FileMetadata): void;
}

export class MetadataSource {
  hooks: MetadataHooks | undefined;
  readonly #store: ObjectStore;
  readonly #tree: Tree;
  readonly #prefix: string;
  readonly #enabled: boolean;
  readonly #known = new Map<Row, FileMetadata>();
  readonly #fetches = new Map<Row, Promise<void>>();
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(options: { store: ObjectStore; tree: Tree; prefix: string; level: "listing" | "full" }) {
    this.#store = options.store;
    this.#tree = options.tree;
    this.#prefix = options.prefix;
    this.#enabled = options.level === "full";
  }

  /** True when nothing more is to be learned about the row. */
  isKnown(row: Row): boolean {
    return !this.#enabled || this.#known.has(row);
  }

  get(row: Row): FileMetadata | undefined {
    return this.#known.get(row);
  }

  /** Keeps what this mount itself has written, or is about to: nothing is asked about the row then. */
  set(row: Row, metadata: FileMetadata): void {
    this.#known.set(row, metadata);
  }

  /** Asks again when next wanted. */
  forget(row: Row): void {
    this.#known.delete(row);
  }

  /** True when the object has been asked, or was written here, at whatever level. */
  has(row: Row): boolean {
    return this.#known.has(row);
  }

  /** Forgets what is kept by row. */
  rowChanged(row: Row): void {
    if (this.#known.size > 0) this.#known.delete(row);
    if (this.#fetches.size > 0) this.#fetches.delete(row);
  }

  /**
   * Asks the object. Afterwards the row is known, or its version was found gone and is marked suspect, or the row
   * changed meanwhile: look again.
   *
   * @throws HawserError the HEAD's failure; never `not_found`
   */
  fetch(row: Row): Promise<void> {
    let fetch = this.#fetches.get(row);
    if (fetch === undefined) {
      fetch = this.#head(row).finally(() => {
        if (this.#fetches.get(row) === fetch) this.#fetches.delete(row);
      });
      this.#fetches.set(row, fetch);
    }
    return fetch;
  }

  async #head(row: Row): Promise<void> {
    const { table } = this.#tree;
    const nodeId = table.nodeId(row);
    const folder = this.#tree.isFolder(row);
    const path = this.#tree.path(row);
    const ownKey = folder && path !== "" ? `${this.#prefix}${path}/` : `${this.#prefix}${path}`;
    const movedFrom = this.hooks?.keyOf(row);
    const isSame = (): boolean => table.rowOf(nodeId) === row && this.#tree.isAttached(row);
    const etag = table.etag(row);
    const size = table.getDouble(row, Double.size);
    const mtimeMs = table.getDouble(row, Double.mtimeMs);
    // What was asked for may have become another version here while the HEAD was under way: by a move, or a publication.
    const isOther = (): boolean => table.etag(row) !== etag || table.getDouble(row, Double.size) !== size;
    try {
      const info = ownKey === "" ? undefined : await this.#limited(() => this.#ask(movedFrom, ownKey));
      if (!isSame()) return;
      if (folder)
        return this.#learn(
          row,
          info ? { ...readObjectMetadata(table.name(row), info), type: undefined } : {},
        );
      if (info!.etag !== table.etag(row) || info!.sizeBytes !== table.getDouble(row, Double.size))
        return isOther() ? undefined : this.#suspect(row);
      const metadata = readObjectMetadata(table.name(row), info!);
      table.setFlag(row, Flag.symlink, metadata.type === "symlink" && size > 0 && size <= MAX_TARGET_BYTES);
      table.setSpecial(row, isSpecial(metadata.type) && size === 0 ? metadata.type : undefined);
      // A refresh that moved the time while the HEAD was under way has forgotten this answer already.
      if (table.getDouble(row, Double.mtimeMs) === mtimeMs) this.#learn(row, metadata);
    } catch (error) {
      if (!HawserError.is(error, "not_found")) throw error;
      if (!isSame()) return;
      if (folder) this.#learn(row, {});
      else if (!isOther()) this.#suspect(row);
    }
  }

  /** An object that is being moved may have arrived without our having been told. */
  async #ask(movedFrom: string | undefined, key: string): Promise<ObjectInfo> {
    const options = { reason: "metadata" } as const;
    try {
      return await this.#store.head(movedFrom ?? key, options);
    } catch (error) {
      if (movedFrom === undefined || !HawserError.is(error, "not_found")) throw error;
      return await this.#store.head(key, options);
    }
  }

  #learn(row: Row, metadata: FileMetadata): void {
    this.#known.set(row, metadata);
    this.hooks?.learned(row, metadata);
  }

  #suspect(row: Row): void {
    this.#tree.table.setFlag(row, Flag.suspect, true);
  }

  async #limited<T>(send: () => Promise<T>): Promise<T> {
    if (this.#running >= MAX_HEADS) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#running++;
    try {
      return await send();
    } finally {
      this.#running--;
      this.#queue.shift()?.();
    }
  }
}
