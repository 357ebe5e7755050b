/**
 * Changes of names: making and removing files, folders and links.
 *
 * Each change is journaled by write-back first and then shown: in the tree, in one step, when the promise of the journal
 * has resolved. Names are looked up under the folder's lock, so what was found is still true when it is changed.
 */
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import type { WriteBack } from "../writeback/write-back.ts";
import type { Claims } from "./claims.ts";
import type { Caller, FileType, NodeId } from "./filesystem.ts";
import { isDevice } from "./file-type.ts";
import type { FolderMarkers } from "./folder-markers.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inode, Inodes } from "./inodes.ts";
import { checkKey, NAME_MAX, nameProblem } from "./key-path.ts";
import type { NameLocks } from "./name-locks.ts";
import { formatFileMetadata } from "./object-metadata.ts";
import type { FileMetadata } from "./object-metadata.ts";
import { folderKeyOf } from "./object-version.ts";
import type { OpenRemovals } from "./open-removals.ts";
import type { Strays } from "./strays.ts";
import type { VolumeParts } from "./volume-filesystem.ts";

export interface NameChangesOptions {
  parts: VolumeParts;
  claims: Claims;
  inodes: Inodes;
  markers: FolderMarkers;
  removals: OpenRemovals;
  strays: Strays;
  writeBack: WriteBack;
  locks: NameLocks;
  clock: Clock;
}

const SETGID = 0o2000;

export class NameChanges {
  readonly #options: NameChangesOptions;

  constructor(options: NameChangesOptions) {
    this.#options = options;
  }

  // ---- making ----

  /**
   * A new empty file, or the present one.
   *
   * @returns its row, referred to once for the reply, and whether it is new; new ones have their staged file open for
   *   writing, which the caller must release
   * @throws `exists` when it must be new
   */
  create(
    parent: NodeId,
    name: string,
    mode: number,
    caller: Caller,
    { exclusive }: { exclusive: boolean },
  ): Promise<{ row: Row; isNew: boolean }> {
    return this.#options.locks.within([parent], async () => {
      const folder = this.folder(parent);
      const present = await this.find(folder, name, caller);
      if (present !== NO_ROW) {
        // The kernel follows a link before it comes here: this one was put there meanwhile.
        if (exclusive || this.#options.parts.tree.type(present) === "symlink")
          throw new HawserError("exists", `There is '${name}' already.`);
        if (this.#options.parts.tree.isFolder(present))
          throw new HawserError("is_a_directory", `'${name}' is a folder.`);
        this.#options.parts.tree.reference(present);
        return { row: present, isNew: false };
      }
      const metadata = this.#ownership(folder, mode, caller);
      const row = await this.#makeFile(folder, name, "file", metadata);
      return { row, isNew: true };
    });
  }

  /** @throws `exists` @returns the row, referred to once */
  symlink(parent: NodeId, name: string, target: string, caller: Caller): Promise<Row> {
    return this.#options.locks.within([parent], async () => {
      const folder = this.folder(parent);
      await this.#mustBeFree(folder, name, caller);
      const metadata = { ...this.#ownership(folder, 0o777, caller), mode: 0o777 };
      const row = await this.#makeFile(folder, name, "symlink", metadata, Buffer.from(target));
      const file = this.#options.inodes.of(row).staged!;
      await file.flush().finally(() => file.releaseWrite());
      return row;
    });
  }

  /** A file, FIFO, socket or device node. @throws `exists` @returns the row, referred to once */
  mknod(
    parent: NodeId,
    name: string,
    { type, mode, rdev }: { type: FileType; mode: number; rdev: number },
    caller: Caller,
  ): Promise<Row> {
    return this.#options.locks.within([parent], async () => {
      const folder = this.folder(parent);
      await this.#mustBeFree(folder, name, caller);
      const metadata = { ...this.#ownership(folder, mode, caller), ...(isDevice(type) ? { rdev } : {}) };
      const row = await this.#makeFile(folder, name, type, metadata);
      const file = this.#options.inodes.of(row).staged!;
      await file.flush().finally(() => file.releaseWrite());
      return row;
    });
  }

  /** @throws `exists` @returns the row, referred to once */
  mkdir(parent: NodeId, name: string, mode: number, caller: Caller): Promise<Row> {
    return this.#options.locks.within([parent], async () => {
      const { parts, inodes, markers, claims, clock, writeBack } = this.#options;
      const { tree, metadata, options } = parts;
      const folder = this.folder(parent);
      await this.#mustBeFree(folder, name, caller);
      checkKey(`${inodes.keyOf(folder)}${name}/`);
      const owner = this.#ownership(folder, mode, caller);
      if (this.#inheritsGroup(folder)) owner.mode |= SETGID;
      const row = tree.create(folder, name, "directory");
      const now = wholeMicroseconds(clock.now());
      metadata.set(row, { ...owner, mtimeMs: now });
      tree.setMtime(row, now);
      // It is new: the bucket knows of nothing in it.
      tree.setWhole(row, clock.monotonic() + options.metadataTtlMs);
      claims.restoredFolder(inodes.keyOf(row));
      const journaled = writeBack.foldersChanged({ back: [inodes.keyOf(row)] });
      tree.reference(row);
      this.entriesChanged(folder);
      const plain = owner.mode === options.dirMode && owner.uid === options.uid && owner.gid === options.gid;
      if (plain) await markers.becameEmpty(row);
      else await markers.put(row);
      await journaled;
      return row;
    });
  }

  async #makeFile(
    folder: Row,
    name: string,
    type: FileType,
    metadata: FileMetadata,
    bytes?: Uint8Array,
  ): Promise<Row> {
    const { parts, inodes, writeBack, removals } = this.#options;
    const { tree, prefix } = parts;
    const key = folderKeyOf(tree, prefix, folder) + name;
    checkKey(key);
    removals.letGo(key);
    const meta = formatFileMetadata(name, type, metadata);
    const file = await writeBack.stage(key, { base: { kind: "absent" }, meta });
    await file.openForWrite();
    if (bytes) await file.write(0, bytes);
    const row = tree.create(folder, name, type);
    tree.setSize(row, bytes?.length ?? 0);
    tree.setMtime(row, wholeMicroseconds(file.stamp().mtime));
    tree.reference(row);
    const inode = inodes.of(row);
    inodes.setMetadata(inode, metadata);
    inodes.attach(inode, file, { fromScratch: false });
    this.entriesChanged(folder);
    return row;
  }

  /** Owner and permissions of something new. */
  #ownership(folder: Row, mode: number, caller: Caller): { mode: number; uid: number; gid: number } {
    const { metadata, options } = this.#options.parts;
    const group = this.#inheritsGroup(folder) ? (metadata.get(folder)?.gid ?? options.gid) : caller.gid;
    return { mode, uid: caller.uid, gid: group };
  }

  #inheritsGroup(folder: Row): boolean {
    const { metadata, options } = this.#options.parts;
    return ((metadata.get(folder)?.mode ?? options.dirMode) & SETGID) !== 0;
  }

  // ---- removing ----

  unlink(parent: NodeId, name: string, caller: Caller): Promise<void> {
    return this.#options.locks.within([parent], async () => {
      const { tree } = this.#options.parts;
      const folder = this.folder(parent);
      const row = await this.find(folder, name, caller);
      if (row === NO_ROW) throw new HawserError("not_found", `There is no '${name}'.`);
      if (tree.isFolder(row)) throw new HawserError("is_a_directory", `'${name}' is a folder.`);
      await this.removeFile(row);
      tree.retire(row);
      this.entriesChanged(folder);
      await this.#options.markers.lostName(folder);
    });
  }

  rmdir(parent: NodeId, name: string, caller: Caller): Promise<void> {
    return this.#options.locks.within([parent], async () => {
      const { tree } = this.#options.parts;
      const folder = this.folder(parent);
      const row = await this.find(folder, name, caller);
      if (row === NO_ROW) throw new HawserError("not_found", `There is no '${name}'.`);
      if (!tree.isFolder(row)) throw new HawserError("not_a_directory", `'${name}' is no folder.`);
      await this.mustBeEmpty(row, caller);
      await this.removeFolder(row);
      tree.retire(row);
      this.entriesChanged(folder);
      await this.#options.markers.lostName(folder);
    });
  }

  /**
   * Gives up what a file's name stands for: its staged file, and its object. The row stays for the caller to retire or
   * to replace.
   *
   * @param keeps the key gets another file, whose base the object is: it is not deleted
   */
  async removeFile(row: Row): Promise<void> {
    await this.untilStaged(row);
    await this.removeNow(row);
  }

  /** Resolves when nobody is staging any of these. */
  async untilStaged(...rows: readonly Row[]): Promise<void> {
    const { parts, inodes } = this.#options;
    for (const row of rows)
      if (row !== NO_ROW) await inodes.get(parts.tree.table.nodeId(row))?.staging?.catch(() => undefined);
  }

  /** Nobody stages the file. Journaled as one, with what the caller journals before its next await. @param keeps the object */
  async removeNow(row: Row, { keeps = false } = {}): Promise<void> {
    const { parts, inodes, writeBack, claims, removals, strays } = this.#options;
    const { tree } = parts;
    const key = inodes.keyOf(row);
    const inode = inodes.get(tree.table.nodeId(row));
    const etag = tree.table.etag(row);
    const version = inode ? inode.version : etag === "" ? undefined : { etag };
    const done: Promise<void>[] = [];
    if (inode?.staged) {
      strays.leaves(inode.staged, key);
      done.push(writeBack.drop(inode.staged));
    }
    if (version && !keeps) {
      const after = inode && inode.opens > 0 ? removals.until(inode.nodeId, key) : undefined;
      claims.removed(key);
      done.push(writeBack.remove({ key, ...(inode?.moving ? {} : { etag: version.etag }) }, after));
    }
    await Promise.all(done);
    if (inode) this.#unname(inode);
  }

  #unname(inode: Inode): void {
    const { inodes } = this.#options;
    inode.unlinked = true;
    inode.fromScratch = false;
    inodes.setMoving(inode, false);
    inodes.closed(inode);
  }

  /** Removes an empty folder's marker, and all memory of what was below it. */
  async removeFolder(row: Row): Promise<void> {
    const { parts, inodes, writeBack, claims, markers } = this.#options;
    const { tree } = parts;
    const key = inodes.keyOf(row);
    markers.gone(tree.table.nodeId(row));
    // A folder that listings have told of may have a marker that they have not.
    const journaled: Promise<void>[] = [];
    if (tree.hasMarker(row) || !tree.isLocal(row)) {
      claims.removed(key);
      journaled.push(writeBack.remove({ key }));
    }
    journaled.push(writeBack.foldersChanged({ gone: [key] }));
    await Promise.all(journaled);
    claims.removedFolder(key);
  }

  async mustBeEmpty(folder: Row, caller: Caller): Promise<void> {
    const { tree, lister } = this.#options.parts;
    if (!tree.isEmpty(folder) && lister.isFresh(folder))
      throw new HawserError("not_empty", "The folder is not empty.");
    tree.pin(folder);
    try {
      await lister.whole(folder, caller.signal);
      if (!tree.isEmpty(folder)) throw new HawserError("not_empty", "The folder is not empty.");
    } finally {
      tree.unpin(folder);
    }
  }

  // ---- names ----

  /** @throws `stale`, `not_a_directory` */
  folder(nodeId: NodeId): Row {
    const { tree } = this.#options.parts;
    const row = tree.table.rowOf(nodeId);
    if (row === NO_ROW || !tree.isAttached(row))
      throw new HawserError("not_found", "The folder was removed.");
    if (!tree.isFolder(row)) throw new HawserError("not_a_directory", "The path is not a folder.");
    return row;
  }

  /** The row of a name, or none. @throws `name_too_long`, `invalid_argument` */
  async find(folder: Row, name: string, caller: Caller): Promise<Row> {
    const problem = nameProblem(name);
    if (problem === "name_too_long")
      throw new HawserError("name_too_long", `The name is longer than ${NAME_MAX} bytes.`);
    if (problem !== undefined) throw new HawserError("invalid_argument", "The name can be no key.");
    const { lister } = this.#options.parts;
    return await lister.lookup(
      folder,
      name,
      () => caller.signal,
      (row) => row,
    );
  }

  async #mustBeFree(folder: Row, name: string, caller: Caller): Promise<void> {
    if ((await this.find(folder, name, caller)) !== NO_ROW)
      throw new HawserError("exists", `There is '${name}' already.`);
  }

  /** A folder's times change with its entries. */
  entriesChanged(folder: Row): void {
    const { parts, clock } = this.#options;
    const now = wholeMicroseconds(clock.now());
    parts.tree.setMtime(folder, now);
    if (!parts.metadata.isKnown(folder)) return;
    const { atimeMs: _atime, ...rest } = parts.metadata.get(folder) ?? {};
    parts.metadata.set(folder, { ...rest, mtimeMs: now, ctimeMs: now });
  }
}
