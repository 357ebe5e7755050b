/** Decisions that are values in and values out. */
import { describe, expect, test } from "vitest";
import { earlyParts } from "../../../src/writeback/early-upload.ts";
import { FileEntry } from "../../../src/writeback/file-entry.ts";
import { LARGE, folderOf, holdsBack } from "../../../src/writeback/publish-order.ts";
import type { Ordered } from "../../../src/writeback/publish-order.ts";
import type { FileRecord } from "../../../src/writeback/records.ts";
import { fateOf } from "../../../src/writeback/recovery.ts";
import { leaseDelayMs, retryDelayMs } from "../../../src/writeback/retry-delay.ts";

const stage = { t: "stage", id: 1, uuid: "u", key: "k", base: { kind: "absent" }, meta: {}, at: 0 } as const;
const now = { otherBoot: false, connectionKept: false };
const stamp = { size: 5, mtime: 1000 };
const uploaded = { t: "uploaded", id: 1, n: 1, key: "k", etag: "e", ...stamp, meta: {} } as const;
const seal = { t: "seal", id: 1, n: 1, seq: 1, ...stamp } as const;
const flush = { t: "flush", id: 1, ...stamp } as const;
const synced = { t: "synced", id: 1, ...stamp } as const;
const later = { size: 6, mtime: 2000 };

function entry(...records: FileRecord[]): FileEntry {
  const made = new FileEntry(stage);
  for (const record of records) made.apply(record);
  return made;
}

describe("the fate of a file that a process has left", () => {
  test.each<[string, FileRecord[], typeof stamp | undefined, Partial<typeof now>, string]>([
    ["sealed", [flush, seal], stamp, {}, "publish"],
    ["flushed and as it was then", [flush], stamp, {}, "seal"],
    ["flushed and written since", [flush], later, {}, "never_closed"],
    ["never flushed", [], stamp, {}, "never_closed"],
    [
      "flushed, then its time was set",
      [flush, { t: "times", id: 1, mtime: 3000 }],
      { size: 5, mtime: 3000 },
      {},
      "seal",
    ],
    ["opened again and not written", [flush, seal, { t: "open", id: 1 }], stamp, {}, "seal"],
    ["opened again and written", [flush, seal, { t: "open", id: 1 }], later, {}, "never_closed"],
    ["torn", [{ ...flush, t: "tear" }], stamp, {}, "torn"],
    [
      "torn, then opened again",
      [
        { ...flush, t: "tear" },
        { t: "open", id: 1 },
      ],
      stamp,
      {},
      "never_closed",
    ],
    ["published", [flush, seal, uploaded], undefined, {}, "finish"],
    [
      "published before it was written again",
      [seal, uploaded, { t: "open", id: 1 }],
      later,
      {},
      "never_closed",
    ],
    ["brought to the bucket by fsync, open", [{ t: "turn", id: 1, n: 1 }, uploaded], stamp, {}, "finish"],
    ["sealed, and the local file is gone", [seal], undefined, {}, "lost"],
    ["open in a process that lives on", [], later, { connectionKept: true }, "open"],
    ["sealed while others live on", [seal], stamp, { connectionKept: true }, "publish"],
    ["sealed and synced before the power went", [seal, synced], stamp, { otherBoot: true }, "publish"],
    ["sealed, not synced before the power went", [seal], stamp, { otherBoot: true }, "power_loss"],
    [
      "synced, then opened again",
      [seal, synced, { t: "open", id: 1 }],
      stamp,
      { otherBoot: true },
      "power_loss",
    ],
    ["synced with another size", [seal, synced], later, { otherBoot: true }, "power_loss"],
    ["fsynced and written on", [{ ...synced, fsync: true }], later, { otherBoot: true }, "seal"],
    [
      "on its way to recovered/",
      [{ t: "recover", id: 1, name: "x", reason: "conflict" }],
      undefined,
      {},
      "conflict",
    ],
  ])("%s", (_name, records, found, circumstances, fate) => {
    const result = fateOf(entry(...records), found, { ...now, ...circumstances });
    expect(result.kind === "recover" ? result.reason : result.kind).toBe(fate);
  });
});

test.each<[what: string, records: FileRecord[]]>([
  ["opened for appending", [flush, { t: "open", id: 1, append: { ...stamp, synced: true } }]],
  [
    "opened for appending after an fsync",
    [flush, { ...synced, fsync: true }, { t: "open", id: 1, append: stamp }],
  ],
  [
    "opened to be changed in its place",
    [flush, { t: "kept", id: 1, as: 2, inPlace: true }, { t: "open", id: 1 }],
  ],
  ["rewritten from scratch", [flush, { t: "open", id: 1 }, { t: "kept", id: 1, as: 2 }]],
])("the records of an entry that was closed and is %s give it again", (_what, records) => {
  const made = entry(...records);
  const [, ...rest] = [...made.records()] as FileRecord[];
  expect(entry(...rest)).toEqual(made);
});

test("an entry's records give the entry again", () => {
  const version = { key: "old", etag: "e0", sizeBytes: 100, mtimeMs: 5 };
  const made = new FileEntry({ ...stage, overlay: version });
  const records: FileRecord[] = [
    { t: "local", id: 1, ranges: [[10, 20]] },
    { t: "fetched", id: 1, ranges: [[30, 40]] },
    { t: "meta", id: 1, meta: { metadata: { a: "b" } } },
    { t: "times", id: 1, mtime: 9 },
    flush,
    { t: "begin", id: 1, n: 1, key: "k", at: 3 },
    {
      t: "multipart",
      id: 1,
      n: 1,
      key: "k",
      mp: "m",
      partBytes: 8,
      base: { kind: "absent" },
      mtime: 1,
      meta: {},
    },
    { t: "part", id: 1, mp: "m", partNumber: 1, etag: "p", sum: "s" },
    seal,
    synced,
    { t: "base", id: 1, base: { kind: "version", etag: "e9" }, hidden: true },
  ];
  for (const record of records) made.apply(record);
  const [first, ...rest] = [...made.records()];
  const again = new FileEntry(first as Extract<FileRecord, { t: "stage" }>);
  for (const record of rest) again.apply(record);
  expect(again).toEqual(made);
});

describe("publishing order", () => {
  const shard: Ordered = { seq: 1, effect: "appear", key: "run/step/shard", sizeBytes: LARGE };
  test.each<[string, Partial<Ordered>, boolean]>([
    ["a smaller file beside it", { key: "run/step/latest" }, true],
    ["a smaller file above it", { key: "run/latest" }, true],
    ["a file at the root", { key: "latest" }, true],
    ["a smaller file below it", { key: "run/step/more/latest" }, false],
    ["a file elsewhere", { key: "other/latest" }, false],
    ["a larger file beside it", { key: "run/step/larger", sizeBytes: LARGE + 1 }, false],
    ["a file closed before it", { key: "run/step/latest", seq: 0 }, false],
    ["a delete anywhere", { key: "other/old", effect: "vanish" }, true],
    ["its own delete", { effect: "vanish" }, false],
  ])("a shard holds back %s: %o", (_name, other, held) => {
    expect(holdsBack(shard, { ...shard, seq: 2, sizeBytes: 10, ...other })).toBe(held);
  });

  test("small files hold nobody back", () => {
    expect(holdsBack({ ...shard, sizeBytes: LARGE - 1 }, { ...shard, seq: 2, sizeBytes: 1 })).toBe(false);
  });

  test.each([
    ["a/b/c", "a/b/"],
    ["a/b/", "a/"],
    ["a", ""],
  ])("the folder of %s is '%s'", (key, folder) => expect(folderOf(key)).toBe(folder));
});

test("parts are sent early when they lie well before the end, and once", () => {
  expect(earlyParts(100, 10, (part) => part === 2)).toEqual([1, 3, 4, 5, 6, 7, 8]);
  expect(earlyParts(25, 10, () => false)).toEqual([]);
});

test("delays grow to their bounds and never begin at once", () => {
  expect([1, 2, 3].map((failures) => retryDelayMs(failures, 0))).toEqual([250, 500, 1000]);
  expect(retryDelayMs(40, 0.999)).toBeLessThanOrEqual(30_000);
  expect([1, 2, 9, 20].map(leaseDelayMs)).toEqual([2, 4, 512, 1000]);
});
