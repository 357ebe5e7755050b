/**
 * Exchanges (RENAME_EXCHANGE): two files or folders that take each other's places.
 *
 * What has a counterpart of the same name on the other side is staged under its new key, from the object that it is; the
 * rest is moved as by a rename. Write-back sees to it that no object is replaced before it was copied from, so that
 * nobody ever sees a name in the bucket that nobody gave. All of it is journaled in one turn.
 */
import { HawserError } from "../common/errors.ts";
import { contentTypeOf } from "../common/content-type.ts";
import type { Caller } from "./filesystem.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Inode } from "./inodes.ts";
import { checkKey } from "./key-path.ts";
import type { NameChanges, NameChangesOptions } from "./name-changes.ts";
import type { Place, Replaced } from "./renames.ts";

/** What a rename does as well. */
export interface Mover {
  learnBelow(folder: Row, caller: Caller): Promise<void>;
  /** @throws `name_too_long` */
  checkBelow(folder: Row, key: string): void;
  replaced(target: Row): Replaced;
  /** To a key that nobody has. */
  moveFile(row: Row, fromKey: string, toKey: string): Promise<void>;
  moveMarker(folder: Row, fromKey: string, toKey: string, keeps: boolean): Promise<void>;
  retype(row: Row): Promise<void>;
  takeAsWhole(folder: Row): void;
}

/** A file, a link or a folder's marker that goes elsewhere. */
interface Relocated {
  readonly row: Row;
  readonly from: string;
  readonly to: string;
}

export class Exchanges {
  readonly #options: NameChangesOptions;
  readonly #names: NameChanges;
  readonly #mover: Mover;

  constructor(options: NameChangesOptions, names: NameChanges, mover: Mover) {
    this.#options = options;
    this.#names = names;
    this.#mover = mover;
  }

  /** Waits for moves in the bucket of what is to be exchanged: it is copied from where it is. Outside of all locks. */
  async untilArrived(...places: Place[]): Promise<void> {
    const { inodes, writeBack } = this.#options;
    const keys = places.map(({ parent, name }) => inodes.keyOf(this.#names.folder(parent)) + name);
    const isWithin = (key: string): boolean => keys.some((one) => key === one || key.startsWith(`${one}/`));
    const moving = [...inodes.all()].filter((inode) => inode.moving && inodes.isNamed(inode));
    for (const key of moving.map((inode) => inodes.key(inode)).filter(isWithin)) await writeBack.flush(key);
  }

  /** Alone. @throws `would_block` when one of them has begun to move meanwhile */
  async exchange(first: Row, second: Row, caller: Caller): Promise<void> {
    const { parts, inodes, claims } = this.#options;
    const { tree } = parts;
    const [firstKey, secondKey] = [first, second].map((row) => inodes.keyOf(row).replace(/\/$/, ""));
    const relocated: Relocated[] = [];
    const folders: Relocated[] = [
      ...(await this.#collect(first, firstKey!, secondKey!, relocated, caller)),
      ...(await this.#collect(second, secondKey!, firstKey!, relocated, caller)),
    ];
    await this.#relocate(relocated);
    await this.#options.writeBack.foldersChanged({
      gone: folders.map(({ from }) => from),
      back: folders.map(({ to }) => to),
    });
    for (const { from } of folders) claims.removedFolder(from);
    for (const { row, to } of folders) {
      claims.restoredFolder(to);
      await this.#options.markers.moved(row, to);
    }
    const types = [first, second].map((row) => contentTypeOf(tree.table.name(row)));
    tree.exchange(first, second);
    for (const row of [first, second]) {
      if (tree.isFolder(row)) this.#mover.takeAsWhole(row);
      else if (types[0] !== types[1]) await this.#mover.retype(row);
    }
    parts.lister.restart();
  }

  /** Everything of a file or folder that has a key of its own. @returns its folders */
  async #collect(
    row: Row,
    from: string,
    to: string,
    relocated: Relocated[],
    caller: Caller,
  ): Promise<Relocated[]> {
    const { tree } = this.#options.parts;
    if (!tree.isFolder(row)) {
      checkKey(to);
      relocated.push({ row, from, to });
      return [];
    }
    await this.#mover.learnBelow(row, caller);
    this.#mover.checkBelow(row, `${to}/`);
    const folder = { row, from: `${from}/`, to: `${to}/` };
    if (tree.hasMarker(row)) relocated.push(folder);
    const folders = [folder];
    for (let child = tree.firstChild(row); child !== NO_ROW; child = tree.nextSibling(child)) {
      if (tree.isDead(child)) continue;
      const name = tree.table.name(child);
      const below = await this.#collect(child, `${from}/${name}`, `${to}/${name}`, relocated, caller);
      folders.push(...below);
    }
    return folders;
  }

  async #relocate(relocated: readonly Relocated[]): Promise<void> {
    const { inodes, parts } = this.#options;
    const byKey = new Map(relocated.map((each) => [each.from, each.row]));
    const files = relocated.filter(({ row }) => !parts.tree.isFolder(row));
    const markers = relocated.filter(({ row }) => parts.tree.isFolder(row));
    const moves: Promise<void>[] = [];
    await this.#trade(
      files
        .filter(({ to }) => byKey.has(to))
        .map(({ row, to }) => ({ inode: inodes.of(row), to, target: byKey.get(to)! })),
      () => {
        for (const { row, from, to } of files)
          if (!byKey.has(to)) moves.push(this.#mover.moveFile(row, from, to));
        for (const { row, from, to } of markers)
          moves.push(this.#mover.moveMarker(row, from, to, byKey.has(to)));
      },
    );
    await Promise.all(moves);
  }

  /** @param together what is journaled in the same turn */
  async #trade(
    traded: readonly { inode: Inode; to: string; target: Row }[],
    together: () => void,
  ): Promise<void> {
    const { inodes, writeBack } = this.#options;
    for (const { inode } of traded) inodes.beginChange(inode);
    try {
      for (const { inode } of traded) {
        await inodes.learn(inode);
        await inode.staging?.catch(() => undefined);
      }
      if (traded.some(({ inode }) => inode.moving))
        throw new HawserError("would_block", "What is to be exchanged is being moved; try again.");
      const replaced = traded.map(({ target }) => this.#mover.replaced(target));
      const exchanged = traded.map(({ inode, to }, at) => ({
        file: inode.staged,
        version: inode.version && { ...inode.version, mtimeMs: inodes.mtimeMs(inode) },
        meta: inodes.stored(inode),
        key: to,
        base: replaced[at]!.base,
      }));
      const staged = await writeBack.exchange(exchanged, together);
      for (const [at, { inode }] of traded.entries()) {
        inode.version = replaced[at]!.version;
        inode.fromScratch = false;
        if (!inode.staged) inodes.attach(inode, staged[at]!, { fromScratch: false });
      }
    } finally {
      for (const { inode } of traded) inodes.endChange(inode);
    }
  }
}
