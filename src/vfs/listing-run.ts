/**
 * Listing run: one walk over a sorted part of the bucket, page by page, into the tree.
 *
 * With a delimiter it fills one folder. Without, it fills a whole subtree: it keeps a stack of the folders it is in,
 * and a folder is complete when the first key behind it arrives.
 *
 * Keys come in UTF-8 byte order, in which `a` comes before `a-1` and that before `a/x`. So an object `a` cannot be put
 * before it is certain that no folder `a` follows (the folder would win): it waits in `pending` until the listing has
 * passed `a/`. What waits is always a chain of names each of which begins the next, so the chain is short.
 *
 * Because of the order a run can also tell which names it has passed without seeing them: `isSettled`. A store that
 * lists out of order loses that, and its subtree runs, and nothing else.
 */
import { HawserError } from "../common/errors.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import { compareKeys } from "../store/key-order.ts";
import type { ListedObject, ListPage } from "../store/object-store.ts";
import { NO_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import { isBefore, nameProblem } from "./key-path.ts";
import type { UnreachableReason } from "./key-path.ts";
import type { PageSource } from "./page-source.ts";
import type { Tree } from "./tree.ts";

export interface ListingRunOptions {
  tree: Tree;
  /** The folder it starts at. */
  root: Row;
  /** Key prefix of that folder. */
  prefix: string;
  /** Lists everything below, not only the folder. */
  recursive: boolean;
  /** Where its pages come from. */
  source: PageSource;
  /** Starts behind this key, at one of the root's folders; then the root itself is not filled. */
  startAfter?: string | undefined;
  /** How long what a page tells may be believed. */
  lifeMs: Milliseconds;
  /** True for a folder that needs no filling: it is fresh, or another run fills it. */
  skips(folder: Row): boolean;
  /** Told which folders the run is filling. */
  entered(folder: Row): void;
  left(folder: Row): void;
  unreachable(key: string, reason: UnreachableReason): void;
}

interface Frame {
  readonly folder: Row;
  /** Path below the run's root, ending in a slash; empty for the root. */
  readonly path: string;
  readonly fills: boolean;
  readonly pending: ListedObject[];
}

export class ListingRun {
  readonly root: Row;
  readonly prefix: string;
  readonly recursive: boolean;
  readonly startAfter: string | undefined;
  /** When it was begun, on the monotonic clock. */
  begunAt: Milliseconds = 0;
  /** When the last page was asked for, on the monotonic clock. */
  requestedAt: Milliseconds = 0;
  pages = 0;
  /** Size of all objects that its pages have told of. */
  listedBytes: Bytes = 0;
  /** Pages it may still fetch before somebody has to want more. */
  budget = 0;
  state: "running" | "paused" | "ended" = "paused";
  readonly source: PageSource;

  readonly #options: ListingRunOptions;
  readonly #tree: Tree;
  readonly #frames: Frame[] = [];
  /** The last key, below the prefix. */
  #position = "";
  #disordered = false;

  constructor(options: ListingRunOptions) {
    this.#options = options;
    this.#tree = options.tree;
    this.root = options.root;
    this.prefix = options.prefix;
    this.recursive = options.recursive;
    this.source = options.source;
    this.startAfter = options.startAfter;
    if (options.startAfter !== undefined) this.#position = options.startAfter.slice(options.prefix.length);
  }

  /** Enters the root. Must be called once, before the first page. */
  begin(): void {
    const partial = this.startAfter !== undefined || this.#options.skips(this.root);
    this.#enter(this.root, "", !partial);
  }

  /** Takes one page into the tree. @throws HawserError when a subtree comes out of order */
  takePage(page: ListPage, requestedAt: Milliseconds): void {
    this.requestedAt = requestedAt;
    this.pages++;
    const { objects, prefixes } = page;
    for (let o = 0, p = 0; o < objects.length || p < prefixes.length;) {
      const object = objects[o];
      const folder = prefixes[p];
      if (object === undefined || (folder !== undefined && compareKeys(folder, object.key) < 0)) {
        this.#take(folder!, undefined);
        p++;
      } else {
        this.#take(object.key, object);
        this.listedBytes += object.sizeBytes;
        o++;
      }
    }
  }

  /** Ends the run after its last page. */
  finish(): void {
    while (this.#frames.length > 0) this.#leave(true);
    this.state = "ended";
  }

  /** Ends the run where it is. What it told stays; no folder it was in becomes complete. */
  abandon(): void {
    while (this.#frames.length > 0) this.#leave(false);
    this.state = "ended";
  }

  /** True when the run, filling `folder`, has passed the place where `name` would be. */
  isSettled(folder: Row, name: string): boolean {
    if (this.#disordered) return false;
    const frame = this.#frames.find((frame) => frame.folder === folder);
    if (!frame?.fills) return false;
    const rest = this.#position.slice(frame.path.length);
    return compareKeys(name, rest) < 0 && isBefore(name, rest);
  }

  /** True when a folder at this path below the run's root is still to come. */
  willReach(path: string): boolean {
    return this.recursive && compareKeys(`${path}/`, this.#position) > 0;
  }

  #take(key: string, object: ListedObject | undefined): void {
    if (!key.startsWith(this.prefix)) return;
    const rest = key.slice(this.prefix.length);
    if (rest === "" || compareKeys(rest, this.#position) > 0) {
      this.#position = rest;
    } else if (this.recursive) {
      throw new HawserError("not_supported_by_store", "The store lists keys out of order.");
    } else if (!this.#disordered) {
      this.#disordered = true;
      this.#flush(this.#frames[0]!, undefined);
    }
    while (!rest.startsWith(this.#top.path)) this.#leave(true);
    this.#place(key, rest, object);
  }

  get #top(): Frame {
    return this.#frames.at(-1)!;
  }

  /** Walks down from the innermost folder to the key's own. */
  #place(key: string, rest: string, object: ListedObject | undefined): void {
    for (;;) {
      const frame = this.#top;
      const tail = frame.path === "" ? rest : rest.slice(frame.path.length);
      if (tail === "") return this.#placeMarker(frame, object);
      const slash = tail.indexOf("/");
      if (slash < 0) return this.#placeFile(frame, key, tail, object);
      const name = tail.slice(0, slash);
      const problem = nameProblem(name);
      if (problem) return this.#options.unreachable(key, problem);
      this.#flush(frame, tail);
      const last = frame.pending.at(-1);
      if (last !== undefined && this.#nameOf(frame, last) === name) {
        frame.pending.pop();
        this.#options.unreachable(last.key, "shadowed_by_folder");
      }
      const folder = this.#tree.putFolder(frame.folder, name);
      // None where the folder was removed here; a file where one was put here: what is below is not to be seen.
      if (!this.recursive || folder === NO_ROW || !this.#tree.isFolder(folder)) return;
      this.#enter(folder, `${frame.path}${name}/`, !this.#options.skips(folder));
    }
  }

  #placeMarker(frame: Frame, object: ListedObject | undefined): void {
    if (object === undefined) return;
    this.#tree.setMtime(frame.folder, object.mtimeMs);
    this.#tree.setMarker(frame.folder, true);
    if (object.sizeBytes > 0) this.#options.unreachable(object.key, "marker_with_content");
  }

  #placeFile(frame: Frame, key: string, name: string, object: ListedObject | undefined): void {
    if (object === undefined) return;
    const problem = nameProblem(name);
    if (problem) return this.#options.unreachable(key, problem);
    this.#flush(frame, name);
    if (!frame.fills) return;
    if (this.#disordered) this.#tree.putFile(frame.folder, name, object);
    else frame.pending.push(object);
  }

  /** Puts the pending objects that no folder can displace any more, now that `tail` has come; all without `tail`. */
  #flush(frame: Frame, tail: string | undefined): void {
    const { pending } = frame;
    let count = pending.length;
    // Only the last can be undecided together with `tail`; if it is decided, so may the ones it begins with be.
    while (count > 0) {
      const name = this.#nameOf(frame, pending[count - 1]!);
      if (tail !== undefined && !isBefore(name, tail)) break;
      this.#tree.putFile(frame.folder, name, pending[count - 1]!);
      count--;
    }
    pending.length = count;
  }

  #nameOf(frame: Frame, object: ListedObject): string {
    return object.key.slice(this.prefix.length + frame.path.length);
  }

  #enter(folder: Row, path: string, fills: boolean): void {
    this.#tree.pin(folder);
    this.#frames.push({ folder, path, fills, pending: [] });
    if (!fills) return;
    this.#tree.beginListing(folder, this.requestedAt);
    this.#options.entered(folder);
  }

  #leave(whole: boolean): void {
    const frame = this.#frames.pop()!;
    if (frame.fills) {
      if (whole) {
        this.#flush(frame, undefined);
        this.#tree.finishListing(frame.folder, this.requestedAt + this.#options.lifeMs);
      }
      this.#options.left(frame.folder);
    }
    this.#tree.unpin(frame.folder);
  }
}
