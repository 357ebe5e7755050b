/** Copies in every direction, on either engine. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { copy } from "../../../src/transfer/copy.ts";
import { MiB, ENGINES, Place, counts, failures, listening } from "./place.ts";

describe.each(ENGINES)("with the %s engine", (engine) => {
  let place: Place;

  beforeEach(async () => {
    place = await Place.open(engine);
  });

  afterEach(async () => {
    await place[Symbol.asyncDispose]();
  });

  test("files go up and come back as they were, with their times, in one part or several", async () => {
    const small = randomBytes(100_000);
    const large = randomBytes(12 * MiB + 12_345);
    place.file("src/a.bin", small, 1_600_000_000_123);
    place.file("src/deep/er/b.bin", large, 1_500_000_000_456);
    place.file("src/empty", "", 1_400_000_000_000);
    const up = await copy(place.connection, [place.path("src")], "s3://data/set", { recursive: true });
    expect(counts(up)).toEqual({ uploaded: 3 });
    expect(up.bytes).toBe(small.length + large.length);
    expect(await place.keys()).toEqual(["set/a.bin", "set/deep/er/b.bin", "set/empty"]);
    const down = await copy(place.connection, ["s3://data/set/"], place.path("back"), { recursive: true });
    expect(counts(down)).toEqual({ downloaded: 3 });
    expect(place.files("back")).toEqual(["a.bin", "deep/er/b.bin", "empty"]);
    expect(place.read("back/a.bin").equals(small)).toBe(true);
    expect(place.read("back/deep/er/b.bin").equals(large)).toBe(true);
    for (const name of ["a.bin", "deep/er/b.bin", "empty"]) {
      expect(Math.abs(place.mtime(`back/${name}`) - place.mtime(`src/${name}`))).toBeLessThan(0.01);
    }
    expect(place.requests("CreateMultipartUpload")).toBe(1);
    expect(place.requests("UploadPart")).toBe(3);
  });

  test("an object without a time of its own gets the one it was made at", async () => {
    await place.put("plain", "x");
    await copy(place.connection, ["s3://data/plain"], place.path("plain"));
    const made = (await place.objects("plain"))[0]!.mtimeMs;
    expect(place.mtime("plain")).toBe(Math.floor(made / 1000) * 1000);
  });

  test("what new objects are to be is said with them, in one part or several", async () => {
    place.file("small.json", "{}");
    place.file("large.bin", randomBytes(6 * MiB));
    const options = {
      storageClass: "STANDARD_IA",
      metadata: { run: "7" },
      tags: { team: "a b" },
      sse: "AES256" as const,
    };
    await copy(place.connection, [place.path("small.json"), place.path("large.bin")], "s3://data/x", options);
    const store = await place.store();
    for (const [key, type] of [
      ["x/small.json", "application/json"],
      ["x/large.bin", "application/octet-stream"],
    ] as const) {
      const info = await store.head(key);
      expect(info).toMatchObject({ storageClass: "STANDARD_IA", contentType: type, metadata: { run: "7" } });
      expect(Number(info.metadata["mtime"])).toBeGreaterThan(1_700_000_000);
    }
  });

  test("one file takes the target's name, or its own in a folder", async () => {
    const file = place.file("one.txt", "one");
    await copy(place.connection, [file], "s3://data/renamed.txt");
    await copy(place.connection, [file], "s3://data/folder/");
    await copy(place.connection, [file], "s3://data");
    expect(await place.keys()).toEqual(["folder/one.txt", "one.txt", "renamed.txt"]);
    await copy(place.connection, ["s3://data/one.txt"], place.path("new.txt"));
    await copy(place.connection, ["s3://data/one.txt"], place.path("in") + "/");
    await copy(place.connection, ["s3://data/one.txt", "s3://data/renamed.txt"], place.path("both"));
    expect(place.files()).toEqual(["both/one.txt", "both/renamed.txt", "in/one.txt", "new.txt", "one.txt"]);
  });

  test("several folders keep their names", async () => {
    place.file("a/x", "1");
    place.file("b/x", "2");
    await copy(place.connection, [place.path("a"), place.path("b")], "s3://data/p", { recursive: true });
    expect(await place.keys()).toEqual(["p/a/x", "p/b/x"]);
    await copy(place.connection, ["s3://data/p/a", "s3://data/p/b"], place.path("d"), { recursive: true });
    expect(place.files("d")).toEqual(["a/x", "b/x"]);
  });

  test("a prefix is a folder: what only begins like it stays", async () => {
    await place.put("data/x", "1");
    await place.put("data-old/x", "2");
    await copy(place.connection, ["s3://data/data"], place.path("d"), { recursive: true });
    expect(place.files("d")).toEqual(["x"]);
  });

  test("globs are looked up in the bucket, and filters choose among what is found", async () => {
    for (const key of ["l/a.gz", "l/b.txt", "l/m/c.gz", "k/d.gz"]) await place.put(key, key);
    await copy(place.connection, ["s3://data/l/*.gz"], place.path("flat"));
    expect(place.files("flat")).toEqual(["a.gz"]);
    await copy(place.connection, ["s3://data/**/*.gz"], place.path("all"));
    expect(place.files("all")).toEqual(["k/d.gz", "l/a.gz", "l/m/c.gz"]);
    await copy(place.connection, ["s3://data"], place.path("some"), {
      recursive: true,
      rules: [
        { kind: "exclude", pattern: "*" },
        { kind: "include", pattern: "*.gz" },
        { kind: "exclude", pattern: "m" },
      ],
    });
    expect(place.files("some")).toEqual(["k/d.gz", "l/a.gz"]);
  });

  test("copies within the store send no content through here", async () => {
    const content = randomBytes(300_000);
    await place.put("a/x", content, { metadata: { kept: "yes" }, contentType: "text/csv" });
    await place.put("a/b/y", "y");
    const summary = await copy(place.connection, ["s3://data/a"], "s3://other/z", { recursive: true });
    expect(counts(summary)).toEqual({ copied: 2 });
    expect((await place.get("z/x", "other")).equals(content)).toBe(true);
    expect(await (await place.store("other")).head("z/x")).toMatchObject({
      metadata: { kept: "yes" },
      contentType: "text/csv",
    });
    expect(place.requests("CopyObject")).toBe(2);
    expect(place.s3.requests.records.filter(({ operation }) => operation === "GetObject")).toHaveLength(1);
  });

  test("moving takes the source away, and only when the copy is complete", async () => {
    place.file("m/up", "up");
    await place.put("down", "down");
    await place.put("here", "here");
    await copy(place.connection, [place.path("m/up")], "s3://data/up", { move: true });
    await copy(place.connection, ["s3://data/down"], place.path("down"), { move: true });
    await copy(place.connection, ["s3://data/here"], "s3://other/there", { move: true });
    expect(place.files()).toEqual(["down"]);
    expect(await place.keys()).toEqual(["up"]);
    expect(await place.keys("", "other")).toEqual(["there"]);
    place.s3.faults.add({ operation: "PutObject", error: "AccessDenied" });
    const stays = place.file("stays", "x");
    const summary = await copy(place.connection, [stays], "s3://data/never", { move: true });
    expect(failures(summary)).toEqual({ [stays]: "access_denied" });
    expect(place.files()).toContain("stays");
  });

  test("streams: what comes in becomes an object, whatever its length, and goes out in order", async () => {
    const content = randomBytes(11 * MiB + 7);
    async function* input(bytes: Buffer): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001);
    }
    const out: Buffer[] = [];
    const output = (bytes: Uint8Array): Promise<void> => {
      out.push(Buffer.from(bytes));
      return Promise.resolve();
    };
    const up = await copy(place.connection, ["-"], "s3://data/stream", {
      streams: { input: input(content), output },
    });
    expect(counts(up)).toEqual({ uploaded: 1 });
    expect(up.bytes).toBe(content.length);
    await copy(place.connection, ["-"], "s3://data/short", {
      streams: { input: input(content.subarray(0, 10)), output },
    });
    await copy(place.connection, ["-"], "s3://data/none", {
      streams: { input: input(Buffer.alloc(0)), output },
    });
    expect((await place.objects()).map(({ key, sizeBytes }) => [key, sizeBytes])).toEqual([
      ["none", 0],
      ["short", 10],
      ["stream", content.length],
    ]);
    const down = await copy(place.connection, ["s3://data/stream"], "-", {
      streams: { input: input(content), output },
    });
    expect(counts(down)).toEqual({ downloaded: 1 });
    expect(Buffer.concat(out).equals(content)).toBe(true);
  });

  test("a dry run says what it would do and does nothing", async () => {
    place.file("src/a", "a");
    const { events, onEvent } = listening();
    const summary = await copy(place.connection, [place.path("src")], "s3://data/p", {
      recursive: true,
      dryRun: true,
      onEvent,
    });
    expect(counts(summary)).toEqual({ uploaded: 1 });
    expect(events).toContainEqual({
      type: "would",
      action: "upload",
      source: place.path("src/a"),
      target: "s3://data/p/a",
      bytes: 1,
    });
    expect(await place.keys()).toEqual([]);
  });

  test("what exists can be left", async () => {
    await place.put("p/a", "theirs");
    place.file("src/a", "ours");
    place.file("src/b", "ours");
    const up = await copy(place.connection, [place.path("src")], "s3://data/p", {
      recursive: true,
      keepExisting: true,
    });
    expect(counts(up)).toEqual({ uploaded: 1, skipped: 1 });
    expect((await place.get("p/a")).toString()).toBe("theirs");
    const down = await copy(place.connection, ["s3://data/p"], place.path("src"), {
      recursive: true,
      keepExisting: true,
    });
    expect(counts(down)).toEqual({ skipped: 2 });
    expect(place.read("src/a").toString()).toBe("ours");
  });

  test("events tell what was found, what is done, and each file", async () => {
    for (let at = 0; at < 30; at++) await place.put(`e/${at}`, "12345");
    const { events, onEvent } = listening();
    await copy(place.connection, ["s3://data/e"], place.path("e"), { recursive: true, onEvent });
    expect(events.filter(({ type }) => type === "done")).toHaveLength(30);
    expect(events).toContainEqual({ type: "found", files: 30, bytes: 150, complete: true });
    expect(events.at(-1)).toEqual({ type: "progress", files: 30, bytes: 150 });
  });

  test("what makes no sense together is refused before anything is done", async () => {
    const refused = (sources: string[], target: string, options = {}) =>
      expect(copy(place.connection, sources, target, options)).rejects.toSatisfy((error) =>
        HawserError.is(error, "invalid_argument"),
      );
    await refused([], "s3://data/x");
    await refused(["-"], "b");
    await refused(["s3://data"], "x");
    await refused(["gs://data/x"], "x");
    await refused(["s3://data/a"], "-", { recursive: true });
    await refused(["s3://data/a"], "s3://data/a/b", { recursive: true });
    expect(place.s3.requests.records).toEqual([]);
    await expect(copy(place.connection, ["a"], "b")).rejects.toThrow("'a' and 'b' are both local");
  });
});
