/** A million keys: memory an entry, requests, and what comes back. The figures are printed; only memory is judged. */
import { expect, test } from "vitest";
import { silentLogger } from "../../../src/observe/logger.ts";
import type { ListPage, ListQuery } from "../../../src/store/object-store.ts";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import type { DirentSink, Entry, NodeId } from "../../../src/vfs/filesystem.ts";
import { createVolumeFilesystem } from "../../../src/vfs/volume-filesystem.ts";
import { caller, FakeClock, PlainContent, TestBucket } from "./support.ts";

const FOLDERS = 10_000;
const FILES = 100;

/** A bucket whose million keys exist only as numbers: FOLDERS folders of FILES files. */
class NumberedBucket extends TestBucket {
  override async list(query: ListQuery): Promise<ListPage> {
    this.lists.push(query);
    const page: ListPage = { objects: [], prefixes: [] };
    const limit = query.maxKeys ?? 1000;
    const step = query.delimiter && query.prefix === "" ? FILES : 1;
    const first = query.prefix === "" ? 0 : Number(query.prefix.slice(1, 6)) * FILES;
    const end = query.prefix === "" ? FOLDERS * FILES : first + FILES;
    const after = query.startAfter === undefined ? first : Number(query.startAfter.slice(1, 6)) * FILES;
    let at = query.continuationToken === undefined ? after : Number(query.continuationToken);
    for (; at < end && page.objects.length + page.prefixes.length < limit; at += step) {
      const folder = `d${String(Math.floor(at / FILES)).padStart(5, "0")}/`;
      if (step === FILES) page.prefixes.push(folder);
      else
        page.objects.push({
          key: `${folder}img_${String(at).padStart(9, "0")}.jpeg`,
          sizeBytes: at,
          mtimeMs: at,
          etag: etag(at),
        });
    }
    if (at < end) page.nextToken = String(at);
    return page;
  }
}

function etag(n: number): string {
  return n.toString(16).padStart(32, "0");
}

/** Takes everything and remembers only folders and a count. */
class CountingSink implements DirentSink {
  readonly plus = true;
  count = 0;
  last = 0;
  folders: NodeId[] = [];
  nodes: NodeId[] = [];

  add(): boolean {
    return false;
  }

  addPlus(_name: Uint8Array, entry: Entry, nextOffset: number): boolean {
    this.last = nextOffset;
    if (entry.nodeId === 0) return true;
    this.count++;
    if (entry.attributes.type === "directory") this.folders.push(entry.nodeId);
    else this.nodes.push(entry.nodeId);
    return true;
  }
}

function numbered(): {
  fs: ReturnType<typeof createVolumeFilesystem>;
  bucket: NumberedBucket;
  clock: FakeClock;
} {
  const clock = new FakeClock();
  const bucket = new NumberedBucket();
  const content = new PlainContent(bucket);
  const fs = createVolumeFilesystem({
    store: bucket,
    content,
    clock,
    logger: silentLogger,
    options: { staleForMs: 0 },
  });
  return { fs, bucket, clock };
}

async function walk(fs: ReturnType<typeof createVolumeFilesystem>): Promise<CountingSink> {
  const sink = new CountingSink();
  sink.folders.push(ROOT);
  for (let i = 0; i < sink.folders.length; i++) {
    const { handle } = fs.opendir(sink.folders[i]!, caller());
    let offset: number;
    sink.last = 0;
    do {
      offset = sink.last;
      await fs.readdir(handle, offset, sink, caller());
    } while (sink.last !== offset);
    fs.releasedir(handle);
  }
  return sink;
}

/** Two walks of a million names take their time where the cores are shared. */
const TIMEOUT_MS = 180_000;

test(
  "a million keys: at most 200 bytes an entry, about a listing a thousand, and all of it comes back",
  async () => {
    const { fs, bucket, clock } = numbered();
    const started = performance.now();
    const first = await walk(fs);
    const cold = performance.now() - started;
    expect(first.count).toBe(FOLDERS * FILES + FOLDERS);
    const { entries, treeBytes } = fs.counts();
    expect(entries).toBe(FOLDERS * FILES + FOLDERS + 1);
    expect(treeBytes / entries).toBeLessThan(200);
    // Where ranges that are listed at once meet, a page is asked for twice.
    expect(bucket.lists.length).toBeLessThan(1000 * 1.15 + FOLDERS / 1000);
    expect(bucket.heads).toEqual([]);

    const again = performance.now();
    const second = await walk(fs);
    const warm = performance.now() - again;
    expect(fs.counts()).toMatchObject({ entries, treeBytes });
    console.info(
      `${entries} entries: ${(treeBytes / entries).toFixed(1)} bytes each; ` +
        `cold ${Math.round(first.count / (cold / 1000))}/s, warm ${Math.round(second.count / (warm / 1000))}/s; ` +
        `${bucket.lists.length} listings`,
    );

    for (const nodeId of [...first.nodes, ...second.nodes, ...first.folders, ...second.folders])
      fs.forget(nodeId, 1);
    clock.advance(60_000 + 5000 * 40);
    expect(fs.counts().entries).toBe(1);
    expect(fs.counts().treeBytes).toBeLessThan(4 * 2 ** 20);
    await fs.close();
  },
  TIMEOUT_MS,
);
