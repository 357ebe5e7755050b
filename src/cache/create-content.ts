/** createContent: puts the parts of the block cache together. */
import { HawserError } from "../common/errors.ts";
import { GiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import type { RangeReader } from "../store/range-reader.ts";
import type { Content, ContentReader, ObjectVersion } from "./content.ts";
import { Demand } from "./demand.ts";
import { Loader } from "./loader.ts";
import { Memory } from "./memory.ts";
import { VersionReader } from "./reader.ts";
import { VersionBlocks, versionId } from "./version-blocks.ts";

export interface ContentOptions {
  /** Receives into `slab`. Owned by the caller, who closes it after the content. */
  reader: RangeReader;
  /** The memory that content lives in. */
  slab: SharedArrayBuffer;
  /** Where in the slab the content's part begins; 0 when absent. */
  slabOffset?: Bytes | undefined;
  /** The hard ceiling of content in memory; the rest of the slab when absent. */
  memoryBytes?: Bytes | undefined;
  /** Fetch what readers are likely to want next; true when absent. */
  prefetch?: boolean | undefined;
}

/** The memory a mount takes when nothing is said: 1 GiB, on small machines an eighth of theirs. */
export function defaultMemoryBytes(machineBytes: Bytes): Bytes {
  return Math.min(GiB, Math.floor(machineBytes / 8));
}

class BlockContent implements Content {
  readonly #memory: Memory;
  readonly #loader: Loader;
  readonly #demand: Demand;
  readonly #versions = new Map<string, VersionBlocks>();
  #closed: Promise<void> | undefined;

  constructor(options: ContentOptions) {
    this.#memory = new Memory(options);
    this.#loader = new Loader({ memory: this.#memory, reader: options.reader });
    this.#demand = new Demand(this.#memory, this.#loader);
  }

  open(version: ObjectVersion, _opener?: { pid: number }): ContentReader {
    if (this.#closed) throw new HawserError("closed", "The cache is closed.");
    return new VersionReader(this.#blocksOf(version), { memory: this.#memory, demand: this.#demand });
  }

  close(): Promise<void> {
    this.#closed ??= this.#loader.close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #blocksOf(version: ObjectVersion): VersionBlocks {
    const id = versionId(version);
    let blocks = this.#versions.get(id);
    if (blocks === undefined) {
      blocks = new VersionBlocks(version, (idle) => this.#versions.delete(idle.id));
      this.#versions.set(id, blocks);
    } else if (version.versionId !== undefined) {
      blocks.version = version;
    }
    return blocks;
  }
}

export function createContent(options: ContentOptions): Content {
  return new BlockContent(options);
}
