/** Syncs in every direction. */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { sync } from "../../../src/transfer/sync.ts";
import { MiB, ENGINES, Place, asNobody, counts, listening } from "./place.ts";

const OLD = 1_500_000_000_000;

describe.each(ENGINES)("with the %s engine", (engine) => {
  let place: Place;

  beforeEach(async () => {
    place = await Place.open(engine);
  });

  afterEach(async () => {
    await place[Symbol.asyncDispose]();
  });

  const up = (options = {}) => sync(place.connection, place.path("here"), "s3://data/p", options);
  const down = (options = {}) => sync(place.connection, "s3://data/p", place.path("here"), options);
  const both = (options = {}) =>
    sync(place.connection, place.path("here"), "s3://data/p", { direction: "both", ...options });

  test("up: what is new or changed goes, what is the same stays", async () => {
    place.file("here/a", "one", OLD);
    place.file("here/b/c", "two", OLD);
    place.file("here/b.d", "sorts between", OLD);
    expect(counts(await up())).toEqual({ uploaded: 3 });
    expect(counts(await up())).toEqual({ skipped: 3 });
    expect(place.requests("HeadObject")).toBe(0);
    place.file("here/a", "ONE");
    place.file("here/e", "five");
    expect(counts(await up())).toEqual({ uploaded: 2, skipped: 2 });
    expect((await place.get("p/a")).toString()).toBe("ONE");
  });

  test("up: a file as new as its object is asked for and not sent again", async () => {
    place.file("here/a", "one", Date.now() + 3_600_000);
    expect(counts(await up())).toEqual({ uploaded: 1 });
    const puts = place.requests("PutObject");
    expect(counts(await up())).toEqual({ skipped: 1 });
    expect(place.requests("PutObject")).toBe(puts);
  });

  test("down: what is new or changed comes, what is the same stays, also what was uploaded with its time", async () => {
    place.file("src/a", "one", OLD);
    await sync(place.connection, place.path("src"), "s3://data/p");
    await place.put("p/plain", "no time of its own");
    expect(counts(await down())).toEqual({ downloaded: 2 });
    expect(Math.round(place.mtime("here/a"))).toBe(OLD);
    const before = place.s3.requests.records.length;
    expect(counts(await down())).toEqual({ skipped: 2 });
    // Nothing was asked but the listing: the record knows.
    expect(place.s3.requests.records.slice(before).map(({ operation }) => operation)).toEqual([
      "ListObjectsV2",
    ]);
    await place.put("p/a", "two");
    expect(counts(await down())).toEqual({ downloaded: 1, skipped: 1 });
    expect(place.read("here/a").toString()).toBe("two");
  });

  test("down: without a record the object's own time decides", async () => {
    place.file("src/a", "one", OLD);
    await sync(place.connection, place.path("src"), "s3://data/p");
    place.file("here/a", "one", OLD);
    const gets = place.requests("GetObject");
    expect(counts(await down())).toEqual({ skipped: 1 });
    expect(place.requests("GetObject")).toBe(gets);
  });

  test("contents are compared when asked for, in parts as well", async () => {
    const large = randomBytes(11 * MiB);
    place.file("here/a", "one", OLD);
    place.file("here/large", large, OLD);
    await up();
    expect(counts(await up({ checksum: true }))).toEqual({ skipped: 2 });
    // Changed without a trace in size and time.
    place.file("here/a", "two", OLD);
    place.file("here/large", Buffer.concat([randomBytes(5), large.subarray(5)]), OLD);
    expect(counts(await up())).toEqual({ skipped: 2 });
    expect(counts(await up({ checksum: true }))).toEqual({ uploaded: 2 });
    expect(counts(await down({ checksum: true }))).toEqual({ skipped: 2 });
    await place.put("p/a", "zwo");
    expect(counts(await down({ checksum: true }))).toEqual({ downloaded: 1, skipped: 1 });
  });

  test("within the store: only what differs is copied, by the store", async () => {
    await place.put("p/a", "a");
    await place.put("p/b", "b");
    const across = (options = {}) => sync(place.connection, "s3://data/p", "s3://other/q", options);
    expect(counts(await across())).toEqual({ copied: 2 });
    expect(counts(await across())).toEqual({ skipped: 2 });
    await place.put("p/b", "B");
    await place.put("q/extra", "x", { bucket: "other" });
    expect(counts(await across({ delete: true }))).toEqual({ copied: 1, skipped: 1, deleted: 1 });
    expect(await place.keys("", "other")).toEqual(["q/a", "q/b"]);
    expect(place.requests("GetObject")).toBe(0);
  });

  test("deleting is counted, asked about once, and done last", async () => {
    place.file("here/keep", "k", OLD);
    for (let at = 0; at < 25; at++) await place.put(`p/old/${at}`, "12");
    expect(counts(await up())).toEqual({ uploaded: 1 });
    const asked: unknown[] = [];
    const refuse = (plan: unknown) => {
      asked.push(plan);
      return Promise.resolve(false);
    };
    expect(counts(await up({ delete: true, confirm: refuse }))).toEqual({ skipped: 1 });
    expect(asked).toMatchObject([{ files: 25, bytes: 50, examples: { length: 10 } }]);
    expect(await place.keys("p/old")).toHaveLength(25);
    expect(counts(await up({ delete: true, dryRun: true }))).toMatchObject({ deleted: 25 });
    expect(await place.keys("p/old")).toHaveLength(25);
    expect(counts(await up({ delete: true, confirm: () => Promise.resolve(true) }))).toEqual({
      deleted: 25,
      skipped: 1,
    });
    expect(await place.keys()).toEqual(["p/keep"]);
    place.file("here/local/only", "x");
    expect(counts(await down({ delete: true }))).toEqual({ deleted: 1, skipped: 1 });
    expect(place.files("here")).toEqual(["keep"]);
  });

  test("excluded files are neither sent nor deleted", async () => {
    place.file("here/a.txt", "a");
    place.file("here/b.tmp", "b");
    await place.put("p/c.tmp", "c");
    const rules = [{ kind: "exclude", pattern: "*.tmp" }];
    expect(counts(await up({ delete: true, rules }))).toEqual({ uploaded: 1 });
    expect(await place.keys()).toEqual(["p/a.txt", "p/c.tmp"]);
  });

  test("a listing that breaks off deletes nothing", async () => {
    for (let at = 0; at < 1200; at++) await place.put(`p/${String(at).padStart(5, "0")}`, "x");
    await sync(place.connection, "s3://data/p", place.path("here"));
    place.s3.faults.add({ operation: "ListObjectsV2", skip: 1, error: "AccessDenied" });
    const summary = await down({ delete: true });
    expect(summary.failures.map(({ error }) => error.code)).toEqual(["access_denied"]);
    expect(summary.deleted).toBe(0);
    expect(place.files("here")).toHaveLength(1200);
  });

  test("a folder that cannot be read deletes nothing of the other side", async () => {
    place.file("here/closed/a", "a");
    await up();
    chmodSync(place.path("here/closed"), 0);
    const summary = await asNobody(place, () => up({ delete: true }));
    chmodSync(place.path("here/closed"), 0o755);
    expect(counts(summary)).toEqual({ failed: 1 });
    expect(await place.keys()).toEqual(["p/closed/a"]);
  });

  test("a source folder that is not there is an error; a target folder is made", async () => {
    expect((await up({ delete: true })).failures[0]!.error.code).toBe("not_found");
    await place.put("p/a", "a");
    expect(counts(await down())).toEqual({ downloaded: 1 });
  });

  test("the direction may be said instead of the order", async () => {
    place.file("here/a", "a");
    await sync(place.connection, "s3://data/p", place.path("here"), { direction: "up" });
    expect(await place.keys()).toEqual(["p/a"]);
    await sync(place.connection, place.path("there"), "s3://data/p", { direction: "down" });
    expect(place.files("there")).toEqual(["a"]);
  });

  test("both: what changed on one side goes to the other, and nothing twice", async () => {
    place.file("here/mine", "1", OLD);
    await place.put("p/theirs", "2");
    expect(counts(await both())).toEqual({ uploaded: 1, downloaded: 1 });
    const before = place.s3.requests.records.length;
    expect(counts(await both())).toEqual({ skipped: 2 });
    expect(place.s3.requests.records.slice(before).map(({ operation }) => operation)).toEqual([
      "ListObjectsV2",
    ]);
    place.file("here/theirs", "2 and more");
    await place.put("p/mine", "1 and more");
    expect(counts(await both())).toEqual({ uploaded: 1, downloaded: 1 });
    expect((await place.get("p/theirs")).toString()).toBe("2 and more");
    expect(place.read("here/mine").toString()).toBe("1 and more");
  });

  test("both: where both changed, the newer keeps the name and the other is kept beside it, on both sides", async () => {
    place.file("here/newer-here.txt", "base", OLD);
    place.file("here/newer-there.txt", "base", OLD);
    await both();
    place.file("here/newer-here.txt", "from here", Date.now() + 3_600_000);
    place.file("here/newer-there.txt", "from here", OLD + 5000);
    await place.put("p/newer-here.txt", "from there");
    await place.put("p/newer-there.txt", "from there");
    const { events, onEvent } = listening();
    const summary = await both({ onEvent });
    expect(summary.failures).toEqual([]);
    expect(events.filter(({ type }) => type === "note")).toHaveLength(2);
    const names = place.files("here");
    expect(names).toHaveLength(4);
    expect(await place.keys("p/")).toEqual(names.map((name) => `p/${name}`));
    const lost = names.filter((name) => name.includes(".conflict-"));
    expect(lost.map((name) => name.replace(/-\d+T\d+Z/, ""))).toEqual([
      "newer-here.conflict-bucket.txt",
      "newer-there.conflict-local.txt",
    ]);
    expect(names.map((name) => place.read(`here/${name}`).toString())).toEqual([
      "from there",
      "from here",
      "from here",
      "from there",
    ]);
    for (const name of names)
      expect((await place.get(`p/${name}`)).equals(place.read(`here/${name}`))).toBe(true);
    expect(counts(await both())).toEqual({ skipped: 4 });
  });

  test("both: equal changes are no conflict, and neither are equal files at the first time", async () => {
    place.file("here/a", "same");
    await place.put("p/a", "same");
    expect(counts(await both())).toEqual({ skipped: 1 });
    place.file("here/a", "new");
    await place.put("p/a", "new");
    expect(counts(await both())).toEqual({ skipped: 1 });
    expect(place.files("here")).toEqual(["a"]);
  });

  test("both: what was deleted comes back, unless deleting was asked for; what was changed since always stays", async () => {
    for (const name of ["a", "b", "c", "d"]) place.file(`here/${name}`, name, OLD);
    await both();
    rmSync(place.path("here/a"));
    await (await place.store()).delete("p/b");
    expect(counts(await both())).toEqual({ uploaded: 1, downloaded: 1, skipped: 2 });
    rmSync(place.path("here/a"));
    await (await place.store()).delete("p/b");
    rmSync(place.path("here/c"));
    await place.put("p/c", "changed");
    await (await place.store()).delete("p/d");
    place.file("here/d", "changed");
    expect(counts(await both({ delete: true }))).toEqual({ deleted: 2, uploaded: 1, downloaded: 1 });
    expect(place.files("here")).toEqual(["c", "d"]);
    expect(await place.keys()).toEqual(["p/c", "p/d"]);
    expect(counts(await both({ delete: true }))).toEqual({ skipped: 2 });
  });

  test("what makes no sense together is refused", async () => {
    const refused = (source: string, target: string, options = {}) =>
      expect(sync(place.connection, source, target, options)).rejects.toSatisfy((error) =>
        HawserError.is(error, "invalid_argument"),
      );
    await refused("-", "s3://data/p");
    await refused("s3://data/p", "s3://data/p/q");
    await refused("s3://data/p", "s3://other/p", { direction: "both" });
    await expect(sync(place.connection, "a", "b")).rejects.toThrow("'a' and 'b' are both local");
  });

  test("times are kept at the seconds that stores and file systems have", async () => {
    mkdirSync(place.path("here"));
    const path = place.file("here/a", "a");
    utimesSync(path, 1_600_000_000.75, 1_600_000_000.75);
    await up();
    expect(readFileSync(path, "utf8")).toBe("a");
    rmSync(path);
    await down();
    expect(Math.abs(place.mtime("here/a") - 1_600_000_000_750)).toBeLessThan(1);
  });
});
