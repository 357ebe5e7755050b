/**
 * Staging: a staged file for whoever is about to change a file's bytes.
 *
 * An object in the bucket is not staged by an open alone but by the first change: an open for writing that writes
 * nothing costs nothing. What it is staged from is pinned here: the version whose bytes it continues (an overlay), or
 * which it replaces.
 */
import { HawserError } from "../common/errors.ts";
import type { Base } from "../writeback/verdict.ts";
import type { StagedFile, WriteBack } from "../writeback/write-back.ts";
import type { Inode, Inodes } from "./inodes.ts";
import type { NameLocks } from "./name-locks.ts";

/** Times that a file may be published between asking for it and having it. */
const TRIES = 10;

export class Staging {
  readonly #inodes: Inodes;
  readonly #writeBack: WriteBack;
  readonly #locks: NameLocks;
  #unnamed = 0;

  constructor(inodes: Inodes, writeBack: WriteBack, locks: NameLocks) {
    this.#inodes = inodes;
    this.#writeBack = writeBack;
    this.#locks = locks;
  }

  /**
   * The staged file of an inode, opened for writing once more: whoever gets it must `releaseWrite` it.
   *
   * @param empty when nothing of its bytes is wanted: it is cut to nothing
   * @param append nothing but appending is possible
   * @throws `no_space`, `stale`, or what the store answers
   */
  async openForWrite(inode: Inode, { empty = false, append = false } = {}): Promise<StagedFile> {
    for (let tries = TRIES; tries > 0; tries--) {
      const { staged } = inode;
      const file = staged ?? (await this.#stage(inode, empty));
      // Whoever reads through the kernel goes on with the local file: then it stays the same one.
      const isAlone = (): boolean => inode.serving !== "passthrough";
      await file.openForWrite(staged && empty ? { empty, isAlone } : { append });
      // It may have been published, and be done with, while we waited.
      if (inode.staged === file || (inode.unlinked && inode.held === file)) {
        if (file.state === "open") this.#inodes.claim(inode);
        return file;
      }
      file.releaseWrite();
    }
    throw new HawserError("would_block", "The file keeps being published; try again.");
  }

  #stage(inode: Inode, empty: boolean): Promise<StagedFile> {
    inode.staging ??= this.#make(inode, empty).finally(() => {
      inode.staging = undefined;
    });
    return inode.staging;
  }

  async #make(inode: Inode, empty: boolean): Promise<StagedFile> {
    await this.#inodes.learn(inode);
    // The bytes to go on from are under another key until then, and may get another ETag with it.
    if (inode.moving && !empty && this.#inodes.isNamed(inode))
      await this.#writeBack.flush(this.#inodes.key(inode));
    if (!this.#inodes.isNamed(inode)) return await this.#makeUnnamed(inode, empty);
    return await this.#locks.share(async () => {
      const { version, moving } = inode;
      const file = await this.#writeBack.stage(this.#inodes.key(inode), {
        base: baseOf(version, moving),
        ...(version && !empty ? { overlayOf: version } : {}),
        meta: this.#inodes.stored(inode),
      });
      this.#inodes.attach(inode, file, { fromScratch: empty && version !== undefined });
      return file;
    });
  }

  /** For a file that was removed while it is open: a key that nobody asks for, given up at once. */
  async #makeUnnamed(inode: Inode, empty: boolean): Promise<StagedFile> {
    const { version } = inode;
    const file = await this.#writeBack.stage(`${version?.key ?? ""}\0unlinked-${++this.#unnamed}`, {
      base: { kind: "absent" },
      ...(version && !empty ? { overlayOf: version } : {}),
      meta: this.#inodes.stored(inode),
    });
    this.#inodes.attach(inode, file, { fromScratch: false });
    await this.#writeBack.drop(file);
    return file;
  }
}

/** @param moving the ETag may change on the way */
function baseOf(version: Inode["version"], moving: boolean): Base {
  if (version === undefined) return { kind: "absent" };
  return moving ? { kind: "any" } : { kind: "version", etag: version.etag };
}
