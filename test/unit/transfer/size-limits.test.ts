/** The smallest and the largest objects of each store: what it cannot hold is refused before anything is sent. */
import { truncateSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { GiB, TiB } from "../../../src/common/units.ts";
import { PRESETS, STORAGE_PRESETS } from "../../../src/store/presets.ts";
import { Connection } from "../../../src/transfer/connection.ts";
import { copy } from "../../../src/transfer/copy.ts";
import { checkObjectSize, partSizeFor } from "../../../src/transfer/part-size.ts";
import { ENGINES, MiB, Place, counts, failures } from "./place.ts";

let place: Place;
afterEach(() => place[Symbol.asyncDispose]());

/** Files beyond what a file system holds cannot be made, not even empty ones. */
const LARGEST_FILE = 16 * TiB - MiB;

describe.each(STORAGE_PRESETS)("%s", (storage) => {
  const { maxObjectBytes, title } = PRESETS[storage];

  test.each(ENGINES)("a file of no bytes goes there and comes back, with the %s engine", async (engine) => {
    place = await Place.open(engine, {}, { storage });
    const mtimeMs = Date.UTC(2020, 1, 3);
    const file = place.file("empty", "", mtimeMs);
    expect(counts(await copy(place.connection, [file], "s3://data/empty"))).toEqual({ uploaded: 1 });
    const [object] = await place.objects();
    expect(object).toMatchObject({ key: "empty", sizeBytes: 0 });
    const back = place.path("back");
    expect(counts(await copy(place.connection, ["s3://data/empty"], back))).toEqual({ downloaded: 1 });
    expect([place.read("back").length, place.mtime("back")]).toEqual([0, mtimeMs]);
  });

  test("one byte more than its largest object is refused, and nothing is sent", async () => {
    place = await Place.open("lean", {}, { storage });
    const tooLarge = maxObjectBytes + 1;
    expect(() => checkObjectSize("the file", maxObjectBytes, storage)).not.toThrow();
    expect(() => checkObjectSize("the file", tooLarge, storage)).toThrow(HawserError);
    // In no more parts than a store takes, none of them larger than it takes.
    const partBytes = partSizeFor(maxObjectBytes, 5 * MiB);
    expect(Math.ceil(maxObjectBytes / partBytes)).toBeLessThanOrEqual(10_000);
    expect(partBytes).toBeLessThanOrEqual(5 * GiB);
    if (tooLarge > LARGEST_FILE) return;
    const file = place.file("large", "");
    truncateSync(file, tooLarge);
    const summary = await copy(place.connection, [file], "s3://data/large");
    expect(failures(summary)).toEqual({ [file]: "too_large" });
    expect(summary.failures[0]!.error.message).toContain(title);
    expect(place.s3.requests.records).toEqual([]);
  });
});

test("a part size that no store takes is refused", async () => {
  place = await Place.open("lean");
  expect(() => new Connection({ partSizeBytes: 5 * GiB + 1 })).toThrow("at most 5GiB");
  expect(() => new Connection({ partSizeBytes: 5 * MiB - 1 })).toThrow("at least 5MiB");
  expect(new Connection({ partSizeBytes: 5 * GiB }).partBytes).toBe(5 * GiB);
});
