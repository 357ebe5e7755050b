/**
 * SQLite on a writable mount, with a rollback journal and with a write-ahead log (whose index is a shared mapping), alone and
 * from two processes.
 *
 * With `--fsync local` the staging files lie in memory where the machine has such a folder: a rollback journal syncs four
 * times a transaction, and how fast the disk does that is not what is tested.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { folderTree } from "./stored-tree.ts";
import { type Place, openPlace } from "./writable-place.ts";

const STAGING_BELOW = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
let staging: string;
beforeAll(async () => {
  staging = await mkdtemp(path.join(STAGING_BELOW, "hawser-sqlite-"));
});
afterAll(() => rm(staging, { recursive: true, force: true }));

function openLocal(): Promise<Place> {
  return openPlace(["--fsync", "local", "--staging-dir", staging]);
}

const TRANSACTIONS = `
import sqlite3
path, journal, count, synchronous = args
db = sqlite3.connect(path, isolation_level=None)
db.execute(f"pragma synchronous = {synchronous}")
mode = db.execute(f"pragma journal_mode = {journal}").fetchone()[0]
db.execute("create table rows (id integer primary key, text text)")
db.execute("create index by_text on rows (text)")
for i in range(count):
    db.execute("begin")
    db.execute("insert into rows values (?, ?)", (i, f"row {i} " + "x" * (i % 300)))
    if i % 3 == 0:
        db.execute("update rows set text = text || '!' where id = ?", (i // 2,))
    if i % 50 == 49:
        db.execute("rollback")
    else:
        db.execute("commit")
answer([mode, db.execute("select count(*), sum(length(text)) from rows").fetchone(), db.execute("pragma integrity_check").fetchone()[0]])
`;

const CHECK = `
import sqlite3
db = sqlite3.connect(args[0])
answer([db.execute("select count(*), sum(length(text)) from rows").fetchone(), db.execute("pragma integrity_check").fetchone()[0]])
`;

describe.each([
  { fsync: "on the local disk", count: 10_000, open: openLocal },
  { fsync: "in the bucket, the default", count: 50, open: openPlace },
])("$count transactions, fsync $fsync", ({ count, open }) => {
  let place: Place;
  beforeAll(async () => {
    place = await open();
  });
  afterAll(() => place?.close());

  test.each(["delete", "wal"])("journal_mode = %s", async (journal) => {
    const local = path.join(place.scratch, journal);
    await mkdir(local);
    const folder = await place.folder(journal);
    const wanted = await python<[string, number[], string]>(
      TRANSACTIONS,
      path.join(local, "rows.sqlite"),
      journal,
      count,
      "off",
    );
    expect(wanted).toMatchObject([journal, [count - count / 50, expect.any(Number)], "ok"]);
    expect(await python(TRANSACTIONS, path.join(folder, "rows.sqlite"), journal, count, "full")).toEqual(
      wanted,
    );
    expect(await folderTree(folder)).toEqual(await folderTree(local));
    expect(await place.stored(journal)).toEqual(await folderTree(local));
    const copy = path.join(place.scratch, `${journal}-copy`);
    await place.download(journal, copy);
    expect(await python(CHECK, path.join(copy, "rows.sqlite"))).toEqual(wanted.slice(1));
  });
});

test.each(["delete", "wal"])(
  "two processes write to one database in turns, journal_mode = %s",
  async (journal) => {
    await using place = await openLocal();
    const folder = await place.folder("shared");
    const [counts, whole] = await python<[number[], string]>(
      `
import sqlite3, subprocess
path = args[0] + "/shared.sqlite"
db = sqlite3.connect(path)
assert db.execute(f"pragma journal_mode = {args[1]}").fetchone()[0] == args[1]
db.execute("create table rows (who integer, id integer)")
db.close()
program = '''
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for i in range(150):
    db.execute("begin immediate")
    db.execute("insert into rows values (?, ?)", (int(sys.argv[2]), i))
    db.execute("commit")
'''
running = [subprocess.Popen([sys.executable, "-c", program, path, str(who)]) for who in range(2)]
assert [child.wait() for child in running] == [0, 0]
db = sqlite3.connect(path)
answer([[n for n, in db.execute("select count(distinct id) from rows group by who")], db.execute("pragma integrity_check").fetchone()[0]])`,
      folder,
      journal,
    );
    expect([counts, whole]).toEqual([[150, 150], "ok"]);
    expect(await place.stored("shared")).toEqual(await folderTree(folder));
  },
);
