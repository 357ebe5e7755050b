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
    if (!this.#inodes.isNamed(inode)) return await this.#makeUnnamed(inode, empty);
    return await this.#locks.share(async () => {
      const key = this.#inodes.key(inode);
      const file = await this.#writeBack.stage(key, {
        // The object may become another one, by a move or a change of metadata, until it is journaled.
        get base() {
          return baseOf(inode.version);
        },
        get overlayOf() {
          return empty ? undefined : movedTo(key, inode.version);
        },
        meta: this.#inodes.stored(inode),
      });
      this.#inodes.attach(inode, file, { fromScratch: empty && inode.version !== undefined });
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

function baseOf(version: Inode["version"]): Base {
  return version === undefined ? { kind: "absent" } : { kind: "version", etag: version.etag };
}

/** What is still to be moved is known by its new key: write-back reads it where it is, and follows it. */
function movedTo(key: string, version: Inode["version"]): Inode["version"] {
  return version && { ...version, key };
}
