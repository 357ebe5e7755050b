/** A file that is written as it comes: it appears whole or not at all, and no two write it. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { ArrivingFile } from "../../../src/transfer/arriving-file.ts";
import { copy } from "../../../src/transfer/copy.ts";
import { partialPath } from "../../../src/transfer/partial-name.ts";
import { MiB, Place, counts, failures } from "./place.ts";

describe("the file", () => {
  let folder: string;
  let target: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hawser-arriving-"));
    target = join(folder, "a", "b", "file");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("has its name, its time and its content when it is finished, and replaces what was there", async () => {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, "what was there");
    const file = await ArrivingFile.open(target);
    writeSync(file.fd, "content");
    expect(readFileSync(target, "utf8")).toBe("what was there");
    await file.finish(1_700_000_000_250);
    expect(readFileSync(target, "utf8")).toBe("content");
    expect(statSync(target).mtimeMs).toBe(1_700_000_000_250);
    expect(readdirSync(dirname(target))).toEqual(["file"]);
  });

  test("makes the folders above it, and is gone when it is discarded", async () => {
    const file = await ArrivingFile.open(target);
    writeSync(file.fd, "content");
    await file.discard();
    expect(readdirSync(dirname(target))).toEqual([]);
  });

  test("makes its folder again when that was removed since the last file", async () => {
    await (await ArrivingFile.open(target)).discard();
    rmSync(join(folder, "a"), { recursive: true });
    const file = await ArrivingFile.open(target);
    await file.finish(0);
    expect(readdirSync(dirname(target))).toEqual(["file"]);
  });

  test("begins empty, whatever a run that was killed has left", async () => {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(partialPath(target), "more than what comes now");
    const file = await ArrivingFile.open(target);
    writeSync(file.fd, "content");
    await file.finish(0);
    expect(readFileSync(target, "utf8")).toBe("content");
  });

  test("is refused while another writes it, and is to be had afterwards", async () => {
    const file = await ArrivingFile.open(target);
    expect(await codeOf(ArrivingFile.open(target))).toBe("would_block");
    await file.finish(0);
    await (await ArrivingFile.open(target)).discard();
    expect(readdirSync(dirname(target))).toEqual(["file"]);
  });

  test("takes the place of no folder and no pipe", async () => {
    mkdirSync(target, { recursive: true });
    expect(await codeOf(ArrivingFile.open(target))).toBe("is_a_directory");
    const pipe = join(folder, "pipe");
    expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
    expect(await codeOf(ArrivingFile.open(pipe))).toBe("exists");
    expect(await codeOf(ArrivingFile.open(join(pipe, "file")))).toBe("not_a_directory");
  });

  test("that cannot take its name leaves nothing", async () => {
    const file = await ArrivingFile.open(target);
    mkdirSync(target);
    expect(await codeOf(file.finish(0))).toBe("is_a_directory");
    expect(readdirSync(dirname(target))).toEqual(["file"]);
  });
});

describe("a download", () => {
  let place: Place;
  beforeEach(async () => {
    place = await Place.open("lean");
  });
  afterEach(() => place[Symbol.asyncDispose]());

  test("that is interrupted in the middle of a file leaves nothing of it, and the rerun completes", async () => {
    const content = new Map(["a", "b", "c"].map((name) => [name, randomBytes(3 * MiB + 7)]));
    for (const [name, bytes] of content) await place.put(`p/${name}`, bytes);
    const fault = place.s3.faults.add({ operation: "GetObject", key: "p/b", holdAfterBytes: 1_500_000 });
    const controller = new AbortController();
    const stopped = copy(place.connection, ["s3://data/p"], place.path("d"), {
      recursive: true,
      signal: controller.signal,
    });
    await fault.hit();
    controller.abort();
    expect(await stopped).toMatchObject({ interrupted: true, failed: 0 });
    expect(place.files("d").filter((name) => !content.has(name))).toEqual([]);
    fault.remove();
    await place.quiet();
    const again = await copy(place.another(), ["s3://data/p"], place.path("d"), { recursive: true });
    expect(again).toMatchObject({ interrupted: false, failed: 0 });
    expect(place.files("d")).toEqual(["a", "b", "c"]);
    for (const [name, bytes] of content) expect(place.read(`d/${name}`).equals(bytes), name).toBe(true);
  });

  test("whose content never has its checksum leaves nothing of it, and the others come", async () => {
    for (const name of ["a", "b", "c"]) await place.put(`p/${name}`, randomBytes(2 * MiB));
    place.s3.faults.add({ operation: "GetObject", key: "p/b", flipByteAt: 1_500_000 });
    const summary = await copy(place.connection, ["s3://data/p"], place.path("d"), { recursive: true });
    expect(counts(summary)).toMatchObject({ downloaded: 2 });
    expect(failures(summary)).toEqual({ "s3://data/p/b": "checksum_mismatch" });
    expect(place.files("d")).toEqual(["a", "c"]);
  });

  test("holds a piece of each file and no more: thirty of 3 MiB at once come through 12 MiB", async () => {
    const bytes = randomBytes(3 * MiB);
    for (let at = 10; at < 40; at++) await place.put(`p/${at}`, bytes);
    const fault = place.s3.faults.add({ operation: "GetObject", hold: true });
    const connection = place.another({ concurrency: 30, memoryBytes: 12 * MiB });
    const copied = copy(connection, ["s3://data/p"], place.path("d"), { recursive: true });
    await fault.hit(26);
    fault.remove();
    expect(counts(await copied)).toMatchObject({ downloaded: 30 });
    for (const name of place.files("d")) expect(place.read(`d/${name}`).equals(bytes), name).toBe(true);
  });
});

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (error: unknown) => (HawserError.is(error) ? error.code : String(error)),
  );
}
