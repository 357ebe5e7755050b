/** A journal torn anywhere tells of a state that was true. */
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Journal } from "../../../src/writeback/journal.ts";
import type { JournalRecord } from "../../../src/writeback/records.ts";
import { Harness, PART, bytesOf } from "./harness.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hawser-journal-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const quiet = (): void => undefined;

/** What a journal says, as the records that would say it again. */
function told(journal: Journal): JournalRecord[] {
  return [...journal.state.records()];
}

/** Replays these bytes. */
async function replay(bytes: Uint8Array): Promise<JournalRecord[]> {
  const path = join(folder, "torn");
  await writeFile(path, bytes);
  const { journal } = await Journal.open(path, "boot", quiet);
  const records = told(journal);
  await journal.close();
  return records;
}

/** Where the frames of a log end, the header counted as one. */
function frameEnds(log: Buffer): number[] {
  const ends = [24];
  for (let at = 24; at < log.length; at = ends.at(-1)!) ends.push(at + 8 + log.readUInt32LE(at));
  return ends;
}

const meta = { metadata: { mode: "33188" } };
const id = fc.integer({ min: 1, max: 4 });
const key = fc.constantFrom("a", "b", "dir/c");
const size = fc.integer({ min: 0, max: 100 });
const base = { kind: "absent" } as const;

/** Turns of the event loop, each with what it adds. */
const turns: fc.Arbitrary<JournalRecord[][]> = fc.array(
  fc.array(
    fc.oneof(
      fc.record({
        t: fc.constant("stage"),
        id,
        key,
        uuid: fc.constant("v.s.1"),
        base: fc.constant(base),
        meta: fc.constant(meta),
        at: size,
      }),
      fc.record({ t: fc.constant("flush"), id, size, mtime: size }),
      fc.record({
        t: fc.constant("seal"),
        id,
        n: fc.integer({ min: 1, max: 3 }),
        seq: size,
        size,
        mtime: size,
      }),
      fc.record({ t: fc.constant("open"), id }),
      fc.record({ t: fc.constant("keys"), keys: fc.tuple(id, key, fc.constant(base)).map((one) => [one]) }),
      fc.record({ t: fc.constant("begin"), id, n: fc.constant(1), key, at: size }),
      fc.record({
        t: fc.constant("multipart"),
        id,
        n: fc.constant(1),
        key,
        mp: fc.constantFrom("m1", "m2"),
        partBytes: fc.constant(5),
        base: fc.constant(base),
        mtime: size,
        meta: fc.constant(meta),
      }),
      fc.record({
        t: fc.constant("uploaded"),
        id,
        n: fc.constant(1),
        key,
        etag: fc.constantFrom("e1", "e2"),
        size,
        mtime: size,
        meta: fc.constant(meta),
      }),
      fc.record({ t: fc.constant("item"), seq: size, item: fc.record({ kind: fc.constant("remove"), key }) }),
      fc.record({ t: fc.constant("done"), seq: size }),
      fc.record({ t: fc.constant("drop"), id }),
    ) as fc.Arbitrary<JournalRecord>,
    { minLength: 1, maxLength: 4 },
  ),
  { minLength: 1, maxLength: 8 },
);

test("each prefix of a journal replays to the state after a turn", async () => {
  await fc.assert(
    fc.asyncProperty(turns, fc.nat(), async (added, seed) => {
      const path = join(folder, "journal");
      await rm(path, { force: true });
      const { journal } = await Journal.open(path, "boot", quiet);
      await journal.flush();
      const states = [told(journal)];
      for (const records of added) {
        journal.add(...records);
        await journal.flush();
        states.push(told(journal));
      }
      await journal.close();
      const log = await readFile(path);
      const ends = frameEnds(log);
      expect(ends).toHaveLength(states.length + 1);
      // All cuts would be too many: one in each frame, at a byte that differs, and a random one.
      for (let frame = 1; frame < ends.length; frame++) {
        const cut = ends[frame - 1]! + (seed % (ends[frame]! - ends[frame - 1]!));
        // The first frame is the boot's, which a start writes anew.
        if (frame > 1) expect(await replay(log.subarray(0, cut))).toEqual(states[frame - 2]);
      }
      expect(await replay(log)).toEqual(states.at(-1));
    }),
    { numRuns: 25 },
  );
});

test("a flush vouches for what was added, and no write that began before its turn had ended does", async () => {
  const path = join(folder, "journal");
  const { journal } = await Journal.open(path, "boot", quiet);
  for (let at = 1; at <= 20; at++) {
    // Who flushes first goes on in a microtask between the other's adding and the end of the turn.
    const first = journal.flush();
    journal.add({ t: "drop", id: 4700 + at });
    await journal.flush();
    // In the same turn: what is on its way to the file does not count.
    expect(readFileSync(path).includes(`${4700 + at}`), `${at}`).toBe(true);
    await first;
  }
  await journal.close();
});

describe("a journal that a workload has written, cut at any frame", () => {
  test("opens, and what it tells of is published or in recovered, whole", async () => {
    const h = await Harness.start();
    try {
      const contents = new Map<string, Buffer>();
      for (const [at, size] of [10, PART + 1, 2000, 0].entries()) {
        const content = bytesOf(size, at);
        contents.set(`file-${at}`, content);
        await h.write(`file-${at}`, content);
      }
      const file = h.wb.find("file-2")!;
      contents.set("moved", contents.get("file-2")!);
      await h.wb.rekey([{ file, key: "moved", base: { kind: "absent" } }]);
      // The local files are written anew below: only a sealed one does not go by its time.
      await h.until(() => h.wb.status().files.every(({ state }) => state === "sealed"), 0);
      await h.wb.close();
      const path = join(h.folder, "journal");
      const log = await readFile(path);
      const kept = new Map<string, Buffer>();
      for (let number = 1; number <= 4; number++) {
        const local = join(h.folder, `files/${number}/${number}`);
        kept.set(local, await readFile(local));
      }
      for (const end of frameEnds(log)) {
        for (const objectKey of h.store.keys()) await h.store.delete(objectKey);
        await writeFile(path, log.subarray(0, end + 3));
        for (const [local, bytes] of kept) await writeFile(local, bytes);
        await h.open();
        let over = false;
        const flushed = h.wb.flush().finally(() => (over = true));
        await h.until(() => over, 1000);
        await flushed;
        for (const objectKey of h.store.keys()) {
          expect(contents.get(objectKey)?.equals(h.store.peek(objectKey)!), objectKey).toBe(true);
        }
        await h.wb.close();
      }
      expect([...h.store.keys()]).toEqual(["file-0", "file-1", "file-3", "moved"]);
      await h.open();
    } finally {
      await h.end();
    }
  });
});
