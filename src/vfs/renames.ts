/**
 * Renames: files, links and folders, pending or in the bucket, over what is there or against it.
 *
 * What is only local changes its key and nothing is sent; what is in the bucket is moved there by write-back. The row
 * moves with its node id, so for whoever has the file open, or stands in the folder, nothing changes. A file put over
 * another is published against that one as its base.
 *
 * A folder is moved name by name, since S3 knows no folders: all of it must be known first, and nothing else may change
 * names meanwhile. RENAME_EXCHANGE: see exchanges.ts.
 */
import { HawserError } from "../common/errors.ts";
import { wholeMicroseconds } from "../common/object-time.ts";
import type { ObjectVersion } from "../cache/content.ts";
import type { Base } from "../writeback/verdict.ts";
import { contentTypeOf } from "../common/content-type.ts";
import { Exchanges } from "./exchanges.ts";
import type { Caller, NodeId } from "./filesystem.ts";
import { NO_ROW, ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { NameChanges, NameChangesOptions } from "./name-changes.ts";
import { formatFileMetadata } from "./object-metadata.ts";
import { checkKey } from "./key-path.ts";
import { folderKeyOf, objectVersion } from "./object-version.ts";

/** What a name that is given to another file stands for in the bucket. */
export interface Replaced {
  readonly base: Base;
  readonly version?: ObjectVersion | undefined;
}

export interface FileMove {
  readonly row: Row;
  readonly fromKey: string;
  readonly toKey: string;
  /** What is under the new key. */
  readonly replaced: Replaced;
}

export const NOTHING: Replaced = { base: { kind: "absent" } };
const ANYTHING: Replaced = { base: { kind: "any" } };

export interface Place {
  readonly parent: NodeId;
  readonly name: string;
}

/** What a folder's rename has to move. */
interface Below {
  readonly files: FileMove[];
  /** Below the renamed one, with their slash; that itself is empty. */
  readonly folders: string[];
  readonly markers: Promise<void>[];
}

export class Renames {
  readonly #options: NameChangesOptions;
  readonly #names: NameChanges;
  readonly #exchanges: Exchanges;

  constructor(options: NameChangesOptions, names: NameChanges) {
    this.#options = options;
    this.#names = names;
    this.#exchanges = new Exchanges(options, names, this);
  }

  /** @throws `not_found`, `exists`, `is_a_directory`, `not_a_directory`, `not_empty`, `invalid_argument` for a cycle */
  async rename(
    from: Place,
    to: Place,
    flags: { noReplace: boolean; exchange: boolean },
    caller: Caller,
  ): Promise<void> {
    const { locks, parts } = this.#options;
    if (flags.noReplace && flags.exchange)
      throw new HawserError("invalid_argument", "Exchanging replaces; the two flags exclude each other.");
    const source = await this.#names.find(this.#names.folder(from.parent), from.name, caller);
    if (source === NO_ROW) throw new HawserError("not_found", `There is no '${from.name}'.`);
    const run = (): Promise<void> => this.#rename(from, to, flags, caller);
    if (flags.exchange) await this.#exchanges.untilArrived(from, to);
    if (!flags.exchange && !parts.tree.isFolder(source))
      return await locks.within([from.parent, to.parent], run);
    if (parts.tree.isFolder(source)) await this.learnBelow(source, caller);
    await locks.exclude(run);
  }

  async #rename(
    from: Place,
    to: Place,
    { noReplace, exchange }: { noReplace: boolean; exchange: boolean },
    caller: Caller,
  ): Promise<void> {
    const { tree } = this.#options.parts;
    const names = this.#names;
    const fromFolder = names.folder(from.parent);
    const toFolder = names.folder(to.parent);
    const source = await names.find(fromFolder, from.name, caller);
    if (source === NO_ROW) throw new HawserError("not_found", `There is no '${from.name}'.`);
    const target = await names.find(toFolder, to.name, caller);
    if (source === target) return;
    if (
      this.#isInside(source, toFolder) ||
      (exchange && target !== NO_ROW && this.#isInside(target, fromFolder))
    )
      throw new HawserError("invalid_argument", "A folder cannot go below itself.");
    if (exchange) {
      if (target === NO_ROW) throw new HawserError("not_found", `There is no '${to.name}'.`);
      await this.#exchanges.exchange(source, target, caller);
    } else {
      if (target !== NO_ROW) {
        if (noReplace) throw new HawserError("exists", `There is '${to.name}' already.`);
        await this.#checkReplace(source, target, caller);
      }
      await this.#replace(source, target, toFolder, to.name, caller);
    }
    this.#changed(source);
    if (exchange) this.#changed(target);
    names.entriesChanged(fromFolder);
    if (toFolder !== fromFolder) names.entriesChanged(toFolder);
    if (tree.isEmpty(fromFolder) && !tree.hasMarker(fromFolder))
      await this.#options.markers.becameEmpty(fromFolder);
  }

  /** True when `row` is `folder` or a folder around it. */
  #isInside(row: Row, folder: Row): boolean {
    const { tree } = this.#options.parts;
    for (let at = folder; at !== NO_ROW; at = at === ROOT_ROW ? NO_ROW : tree.parent(at))
      if (at === row) return true;
    return false;
  }

  async #checkReplace(source: Row, target: Row, caller: Caller): Promise<void> {
    const { tree } = this.#options.parts;
    if (tree.isFolder(target)) {
      if (!tree.isFolder(source)) throw new HawserError("is_a_directory", "A file cannot replace a folder.");
      await this.#names.mustBeEmpty(target, caller);
    } else if (tree.isFolder(source)) {
      throw new HawserError("not_a_directory", "A folder cannot replace a file.");
    }
  }

  /** Moves `source` to a name that is free, or that `target` has. */
  async #replace(source: Row, target: Row, folder: Row, name: string, caller: Caller): Promise<void> {
    const { parts, inodes, removals } = this.#options;
    const { tree, prefix } = parts;
    const key = folderKeyOf(tree, prefix, folder) + name;
    removals.letGo(key);
    if (tree.isFolder(source)) {
      if (target !== NO_ROW) await this.#names.removeFolder(target);
      await this.#moveBelow(source, inodes.keyOf(source), `${key}/`, caller);
      if (target !== NO_ROW) tree.retire(target);
      tree.move(source, folder, name);
      this.takeAsWhole(source);
      parts.lister.restart();
      return;
    }
    checkKey(key);
    const replaced = this.replaced(target);
    const oldType = contentTypeOf(tree.table.name(source));
    const move = { row: source, fromKey: inodes.keyOf(source), toKey: key, replaced };
    await this.#names.untilStaged(source, target);
    // As one: a crash must not take the one that is replaced and leave the other where it was.
    await Promise.all([
      target === NO_ROW ? undefined : this.#names.removeNow(target, { keeps: true }),
      this.#moveNow([move]),
    ]);
    if (target !== NO_ROW) tree.retire(target);
    tree.move(source, folder, name);
    if (contentTypeOf(name) !== oldType) await this.retype(source);
  }

  /** What is in the bucket under a name that is to be replaced. */
  replaced(target: Row): Replaced {
    if (target === NO_ROW) return NOTHING;
    const { parts, inodes } = this.#options;
    const { tree, prefix } = parts;
    const inode = inodes.get(tree.table.nodeId(target));
    if (inode?.moving) return ANYTHING;
    const version = inode
      ? inode.version
      : objectVersion(tree, folderKeyOf(tree, prefix, tree.parent(target)), target);
    if (version === undefined || version.etag === "") return NOTHING;
    return { base: { kind: "version", etag: version.etag }, version };
  }

  /** Brings a file's bytes from one key to another. The row is moved by the caller. */
  async moveFile(row: Row, fromKey: string, toKey: string): Promise<void> {
    await this.#moveFiles([{ row, fromKey, toKey, replaced: NOTHING }]);
  }

  async #moveFiles(moves: readonly FileMove[]): Promise<void> {
    const { inodes } = this.#options;
    await Promise.all(moves.flatMap(({ row }) => inodes.of(row).staging?.catch(() => undefined) ?? []));
    await this.#moveNow(moves);
  }

  /** Nobody stages these files. Journaled as one, with what the caller journals before its next await. */
  async #moveNow(files: readonly FileMove[]): Promise<void> {
    const { inodes, writeBack, strays, claims } = this.#options;
    const moves = files.map((move) => ({ ...move, inode: inodes.of(move.row) }));
    const done: Promise<void>[] = [];
    const renames = moves.flatMap(({ inode: { staged }, fromKey, toKey, replaced }) => {
      if (!staged) return [];
      strays.leaves(staged, fromKey);
      return { file: staged, key: toKey, base: replaced.base };
    });
    if (renames.length > 0) done.push(writeBack.rekey(renames));
    for (const { inode, fromKey: key, toKey } of moves) {
      const { version, staged, moving } = inode;
      if (!version) continue;
      claims.removed(key);
      if (staged) done.push(writeBack.remove({ key, ...(moving ? {} : { etag: version.etag }) }));
      else done.push(writeBack.move({ ...version, key }, toKey));
    }
    await Promise.all(done);
    for (const { inode, replaced } of moves) {
      if (inode.staged) {
        inodes.setMoving(inode, false);
        inode.version = replaced.version;
        inode.fromScratch = false;
        // During an earlier move the bytes stay where that one takes them from.
      } else if (inode.version && !inode.moving) inodes.setMoving(inode, true);
      inodes.dropIdle(inode);
    }
  }

  /** The new name has another extension. */
  async retype(row: Row): Promise<void> {
    const { parts, inodes } = this.#options;
    const inode = inodes.get(parts.tree.table.nodeId(row));
    if (inode?.staged && inode.staged.state !== "published" && inode.metadata.contentType === undefined)
      await inode.staged.setMeta(inodes.stored(inode));
  }

  // ---- folders ----

  /** Lists everything below a folder. */
  async learnBelow(folder: Row, caller: Caller): Promise<void> {
    const { tree, lister } = this.#options.parts;
    tree.pin(folder);
    try {
      await lister.whole(folder, caller.signal);
      for (let row = tree.firstChild(folder); row !== NO_ROW; row = tree.nextSibling(row)) {
        if (!tree.isDead(row) && tree.isFolder(row)) await this.learnBelow(row, caller);
      }
    } finally {
      tree.unpin(folder);
    }
  }

  /** Moves the objects of a folder, and of all below it, from keys with one prefix to keys with the other. */
  async #moveBelow(folder: Row, fromKey: string, toKey: string, caller: Caller): Promise<void> {
    const { claims } = this.#options;
    await this.learnBelow(folder, caller);
    // Before anything is done: a folder is not to be left half moved.
    this.checkBelow(folder, toKey);
    const found: Below = { files: [], folders: [], markers: [] };
    this.#collect(folder, fromKey, toKey, found);
    const gone = found.folders.map((below) => fromKey + below);
    const back = found.folders.map((below) => toKey + below);
    const folders = this.#options.writeBack.foldersChanged({ gone, back });
    await Promise.all([...found.markers, this.#moveFiles(found.files), folders]);
    for (const key of gone) claims.removedFolder(key);
    for (const key of back) claims.restoredFolder(key);
  }

  checkBelow(folder: Row, key: string): void {
    const { tree } = this.#options.parts;
    checkKey(key);
    for (let row = tree.firstChild(folder); row !== NO_ROW; row = tree.nextSibling(row)) {
      if (tree.isDead(row)) continue;
      const path = key + tree.table.name(row);
      if (tree.isFolder(row)) this.checkBelow(row, `${path}/`);
      else checkKey(path);
    }
  }

  #collect(folder: Row, fromKey: string, toKey: string, found: Below, below = ""): void {
    const { parts, removals, markers } = this.#options;
    const { tree } = parts;
    found.folders.push(below);
    // A folder without a marker exists by what is in it, or gets its marker under its new name.
    if (!tree.hasMarker(folder)) found.markers.push(markers.moved(folder, toKey + below));
    else found.markers.push(this.moveMarker(folder, fromKey + below, toKey + below));
    for (let row = tree.firstChild(folder); row !== NO_ROW; row = tree.nextSibling(row)) {
      if (tree.isDead(row)) continue;
      const path = below + tree.table.name(row);
      if (tree.isFolder(row)) {
        this.#collect(row, fromKey, toKey, found, `${path}/`);
      } else {
        removals.letGo(toKey + path);
        found.files.push({ row, fromKey: fromKey + path, toKey: toKey + path, replaced: NOTHING });
      }
    }
  }

  /** @param keeps another folder's marker takes its place */
  async moveMarker(folder: Row, fromKey: string, toKey: string, keeps = false): Promise<void> {
    const { parts, writeBack, claims } = this.#options;
    const { tree, metadata } = parts;
    if (!metadata.has(folder)) await metadata.fetch(folder);
    const form = { withMtime: true };
    const stored = formatFileMetadata(tree.table.name(folder), "directory", metadata.get(folder) ?? {}, form);
    await writeBack.mark(toKey, stored);
    if (keeps) return;
    claims.removed(fromKey);
    await writeBack.remove({ key: fromKey });
  }

  /** After a move: everything below is known, and is this mount's word until the bucket agrees. */
  takeAsWhole(folder: Row): void {
    const { parts, clock } = this.#options;
    const { tree, options } = parts;
    tree.claim(folder);
    tree.setWhole(folder, clock.monotonic() + options.metadataTtlMs);
    for (let row = tree.firstChild(folder); row !== NO_ROW; row = tree.nextSibling(row)) {
      if (tree.isDead(row)) continue;
      if (tree.isFolder(row)) this.takeAsWhole(row);
      else tree.claim(row);
    }
  }

  #changed(row: Row): void {
    const { parts, inodes, clock } = this.#options;
    const metadata = parts.metadata.get(row);
    if (!metadata) return;
    const changed = { ...metadata, ctimeMs: wholeMicroseconds(clock.now()) };
    const inode = inodes.get(parts.tree.table.nodeId(row));
    if (inode) inodes.setMetadata(inode, changed);
    else parts.metadata.set(row, changed);
  }
}
