/**
 * The walk benchmark: how fast a volume lists a million keys, how many requests that takes, and what it remembers.
 *
 * The volume is the real one, without a kernel; the bucket is made up, keys and pages being computed when asked for.
 * With `--latency MS` every listing answers so late, as a store does that is some way off: that is what listing a
 * folder in several ranges at once is for.
 */
import { parseArgs } from "node:util";
import { systemClock } from "../src/common/clock.ts";
import { silentLogger } from "../src/observe/logger.ts";
import { compareKeys } from "../src/store/key-order.ts";
import { MemoryStore } from "../src/store/memory-store.ts";
import type { ListPage, ListQuery } from "../src/store/object-store.ts";
import type { Content } from "../src/cache/content.ts";
import { ROOT } from "../src/vfs/filesystem.ts";
import type { Caller, DirentSink, Entry, NodeId } from "../src/vfs/filesystem.ts";
import { createVolumeFilesystem } from "../src/vfs/volume-filesystem.ts";
import { median } from "./report.ts";

/** Most memory of the tree for one entry, in bytes. */
const BYTES_BAR = 200;

interface Shape {
  name: string;
  perFolder: number;
}

const SHAPES: readonly Shape[] = [
  { name: "folders of 100", perFolder: 100 },
  { name: "one flat folder", perFolder: 0 },
];

/** Objects that exist as numbers only: `set/00012/0001234.jpeg`, or `set/0001234.jpeg`. */
class NumberedBucket extends MemoryStore {
  lists = 0;
  readonly #count: number;
  readonly #perFolder: number;
  readonly #latencyMs: number;

  constructor(count: number, perFolder: number, latencyMs: number) {
    super({ objects: {} });
    this.#count = count;
    this.#perFolder = perFolder;
    this.#latencyMs = latencyMs;
  }

  override async list(query: ListQuery): Promise<ListPage> {
    this.lists++;
    if (this.#latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#latencyMs));
    const page: ListPage = { objects: [], prefixes: [] };
    const { prefix, delimiter, continuationToken, startAfter, maxKeys = 1000 } = query;
    let at = this.#firstBehind(continuationToken ?? startAfter ?? "", prefix);
    for (; at < this.#count && page.objects.length + page.prefixes.length < maxKeys; at++) {
      const key = this.#key(at);
      if (!key.startsWith(prefix)) break;
      const slash = delimiter === undefined ? -1 : key.indexOf("/", prefix.length);
      if (slash < 0) {
        const etag = at.toString(16).padStart(32, "0");
        page.objects.push({ key, sizeBytes: at, mtimeMs: 1_700_000_000_000 + at, etag });
        continue;
      }
      page.prefixes.push(key.slice(0, slash + 1));
      at = this.#firstBehind(`${key.slice(0, slash)}0`, prefix) - 1;
    }
    if (at < this.#count && this.#key(at).startsWith(prefix)) page.nextToken = this.#key(at - 1);
    return page;
  }

  #key(at: number): string {
    const name = `${String(at).padStart(7, "0")}.jpeg`;
    if (this.#perFolder === 0) return `set/${name}`;
    return `set/${String(Math.floor(at / this.#perFolder)).padStart(5, "0")}/${name}`;
  }

  #firstBehind(key: string, prefix: string): number {
    let low = 0;
    let high = this.#count;
    const from = compareKeys(key, prefix) > 0 ? key : prefix;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#key(middle), from) > 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Takes every entry, as `find` does, and remembers folders. */
class Entries implements DirentSink {
  readonly plus = true;
  count = 0;
  last = 0;
  readonly folders: NodeId[] = [];

  add(): boolean {
    return false;
  }

  addPlus(_name: Uint8Array, entry: Entry, nextOffset: number): boolean {
    this.last = nextOffset;
    if (entry.nodeId === 0) return true;
    this.count++;
    if (entry.attributes.type === "directory") this.folders.push(entry.nodeId);
    return true;
  }
}

const { signal } = new AbortController();
const CALLER: Caller = { uid: 0, gid: 0, pid: process.pid, waiter: signal, signal };
const NO_CONTENT = {
  open: () => {
    throw new Error("Nothing is read here.");
  },
} as unknown as Content;

interface Figures {
  cold: number[];
  again: number[];
  lists: number;
  bytesPerEntry: number;
}

async function walkOnce(
  { perFolder }: Shape,
  keys: number,
  latencyMs: number,
  figures: Figures,
): Promise<void> {
  const store = new NumberedBucket(keys, perFolder, latencyMs);
  const filesystem = createVolumeFilesystem({
    store,
    content: NO_CONTENT,
    clock: systemClock,
    logger: silentLogger,
    options: { metadataTtlMs: Number.POSITIVE_INFINITY },
  });
  const seconds = async (): Promise<number> => {
    const began = performance.now();
    const entries = new Entries();
    const folders = [ROOT];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const { handle } = filesystem.opendir(folder, CALLER);
      entries.last = 0;
      let offset: number;
      do {
        offset = entries.last;
        await filesystem.readdir(handle, offset, entries, CALLER);
      } while (entries.last !== offset);
      filesystem.releasedir(handle);
      folders.push(...entries.folders.splice(0));
    }
    if (entries.count < keys) throw new Error(`Only ${entries.count} of ${keys} keys were told.`);
    return (performance.now() - began) / 1000;
  };
  figures.cold.push(keys / (await seconds()));
  figures.lists = store.lists;
  const { entries, treeBytes } = filesystem.counts();
  figures.bytesPerEntry = treeBytes / entries;
  figures.again.push(keys / (await seconds()));
  await filesystem.close();
}

/** @returns the exit code */
export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean" },
      check: { type: "boolean" },
      runs: { type: "string", default: "3" },
      keys: { type: "string", default: "1000000" },
      latency: { type: "string", default: "0" },
    },
  });
  const keys = Number(values.keys);
  const rows = [];
  for (const shape of SHAPES) {
    const figures: Figures = { cold: [], again: [], lists: 0, bytesPerEntry: 0 };
    for (let round = 0; round < Number(values.runs); round++)
      await walkOnce(shape, keys, Number(values.latency), figures);
    rows.push({
      walk: shape.name,
      coldPerSecond: median(figures.cold),
      againPerSecond: median(figures.again),
      requests: figures.lists,
      bytesPerEntry: figures.bytesPerEntry,
      reached: figures.bytesPerEntry <= BYTES_BAR,
    });
  }
  if (values.json)
    console.log(JSON.stringify({ suite: "walk", keys, latencyMs: Number(values.latency), rows }, null, 2));
  else
    for (const { walk, coldPerSecond, againPerSecond, requests, bytesPerEntry, reached } of rows)
      console.log(
        `${keys} keys in ${walk}: ${round(coldPerSecond)} entries/s cold, ${round(againPerSecond)} again, ` +
          `${requests} requests, ${bytesPerEntry.toFixed(1)} bytes an entry (${reached ? "at most" : "MISSED"} ${BYTES_BAR})`,
      );
  return values.check && rows.some(({ reached }) => !reached) ? 1 : 0;
}

function round(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
