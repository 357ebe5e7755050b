/** What goes wrong while copying: nothing torn is left, nothing else is stopped, and a rerun completes. */
import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { copy } from "../../../src/transfer/copy.ts";
import { Downloader } from "../../../src/transfer/downloader.ts";
import { partialPath, partialStatePath } from "../../../src/transfer/partial-name.ts";
import { MiB, ENGINES, Place, asNobody, counts, failures } from "./place.ts";

describe.each(ENGINES)("with the %s engine", (engine) => {
  let place: Place;

  beforeEach(async () => {
    place = await Place.open(engine);
  });

  afterEach(async () => {
    await place[Symbol.asyncDispose]();
  });

  const download = (source: string, target: string, options = {}) =>
    copy(place.connection, [source], place.path(target), { recursive: true, ...options });

  test("one key that is denied does not stop the others", async () => {
    for (const name of ["a", "b", "c"]) await place.put(`p/${name}`, name);
    place.s3.faults.add({ operation: "GetObject", key: "p/b", error: "AccessDenied" });
    const summary = await download("s3://data/p", "d");
    expect(counts(summary)).toEqual({ downloaded: 2, failed: 1 });
    expect(failures(summary)).toEqual({ "s3://data/p/b": "access_denied" });
    expect(place.files("d")).toEqual(["a", "c"]);
    place.s3.faults.clear();
    place.s3.faults.add({ operation: "PutObject", key: "up/a", error: "AccessDenied" });
    const up = await copy(place.connection, [place.path("d")], "s3://data/up", { recursive: true });
    expect(failures(up)).toEqual({ [place.path("d/a")]: "access_denied" });
    expect(await place.keys("up/")).toEqual(["up/c"]);
  });

  test("a bucket that is not there ends the job with its own error", async () => {
    const down = await copy(place.connection, ["s3://nowhere/p"], place.path("d"), { recursive: true });
    expect(down.fatal?.code).toBe("bucket_not_found");
    for (let at = 0; at < 40; at++) place.file(`many/${at}`, "x");
    const up = await copy(place.connection, [place.path("many")], "s3://nowhere/p", { recursive: true });
    expect(up.fatal?.code).toBe("bucket_not_found");
    expect(up.uploaded).toBe(0);
    // Those under way together meet it; the rest is not tried.
    expect(up.failed).toBeLessThanOrEqual(8);
  });

  test("nothing to copy is an error, and says what it looked for", async () => {
    const summary = await download("s3://data/none", "d");
    expect(failures(summary)).toEqual({ "s3://data/none": "not_found" });
    await place.put("folder/x", "x");
    const named = await copy(place.connection, ["s3://data/folder"], place.path("d"));
    expect(named.failures[0]!.error.message).toContain("--recursive");
  });

  test("keys that would leave the folder, or cannot be files, are refused and the others come", async () => {
    const bad = ["p/../../escape", "p/./x", "p/a//b", "p/.."];
    for (const key of [...bad, "p/good"]) await place.put(key, "x");
    const summary = await download("s3://data/p", "in/d");
    expect(failures(summary)).toEqual(
      Object.fromEntries(bad.map((key) => [`s3://data/${key}`, "invalid_argument"])),
    );
    expect(place.files()).toEqual(["in/d/good"]);
  });

  test("names that are a file and a folder at once: one is kept, the other is named", async () => {
    await place.put("p/a", "file");
    await place.put("p/a/b", "below");
    const summary = await download("s3://data/p", "d");
    expect(counts(summary)).toEqual({ downloaded: 1, failed: 1 });
    expect(["is_a_directory", "not_a_directory"]).toContain(summary.failures[0]!.error.code);
    expect(place.files("d")).toHaveLength(1);
  });

  test("markers of folders become folders; one with content has nowhere to go", async () => {
    await place.put("p/sub/", "");
    await place.put("p/full/", "content");
    const summary = await download("s3://data/p", "d");
    expect(readdirSync(place.path("d"))).toEqual(["sub"]);
    expect(failures(summary)).toEqual({ "s3://data/p/full/": "invalid_argument" });
  });

  test("a device is not replaced by a file", async () => {
    await place.put("x", "x");
    await place.putInParts("y", randomBytes(6 * MiB));
    for (const key of ["x", "y"]) {
      const summary = await copy(place.connection, [`s3://data/${key}`], "/dev/null");
      expect(failures(summary)).toEqual({ [`s3://data/${key}`]: "exists" });
    }
    writeFileSync("/dev/null", "still a device");
  });

  test("an unreadable file is named and the others go", async () => {
    place.file("src/a", "a");
    chmodSync(place.file("src/b", "b"), 0);
    const summary = await asNobody(place, () =>
      copy(place.connection, [place.path("src")], "s3://data/p", { recursive: true }),
    );
    expect(failures(summary)).toEqual({ [place.path("src/b")]: "permission_denied" });
    expect(await place.keys()).toEqual(["p/a"]);
  });

  test("links are followed; those that lead nowhere or in a circle are left and said", async () => {
    place.file("src/real/a", "a");
    symlinkSync("real", place.path("src/link"));
    symlinkSync("..", place.path("src/real/up"));
    symlinkSync("nowhere", place.path("src/dangling"));
    const summary = await copy(place.connection, [place.path("src")], "s3://data/p", { recursive: true });
    expect(await place.keys()).toEqual(["p/link/a", "p/real/a"]);
    expect(counts(summary)).toEqual({ uploaded: 2, skipped: 3 });
  });

  test("a file that changes while it is sent is an error, and no object is left of it", async () => {
    const path = place.file("f", randomBytes(200_000));
    const fault = place.s3.faults.add({ operation: "PutObject", hold: true });
    const copying = copy(place.connection, [path], "s3://data/f");
    await fault.hit();
    appendFileSync(path, "more");
    fault.remove();
    expect(failures(await copying)).toEqual({ [path]: "object_changed" });
    expect(await place.keys()).toEqual([]);
  });

  test("a file that vanishes while its parts are sent is an error, and nothing of it is left", async () => {
    const path = place.file("f", randomBytes(11 * MiB));
    const fault = place.s3.faults.add({ operation: "UploadPart", partNumber: 2, hold: true, count: 1 });
    const copying = copy(place.connection, [path], "s3://data/f");
    await fault.hit();
    rmSync(path);
    fault.remove();
    expect(failures(await copying)).toEqual({ [path]: "object_changed" });
    expect(await place.keys()).toEqual([]);
    expect(await (await place.store()).listMultiparts("")).toEqual([]);
  });

  test("a body that does not have its checksum never becomes a file", async () => {
    await place.put("small", randomBytes(100_000));
    await place.putInParts("large", randomBytes(11 * MiB));
    place.s3.faults.add({ operation: "GetObject", flipByteAt: 1000 });
    const summary = await copy(place.connection, ["s3://data/small", "s3://data/large"], place.path("d"));
    expect(failures(summary)).toEqual({
      "s3://data/small": "checksum_mismatch",
      "s3://data/large": "checksum_mismatch",
    });
    expect(place.files("d")).toEqual([]);
  });

  test("an object that is replaced between listing and reading is an error, not a mix", async () => {
    await place.put("x", "old content");
    const [listed] = await place.objects("x");
    await place.put("x", "new content");
    const downloader = await Downloader.open(place.connection, "data");
    const how = { signal: new AbortController().signal, progress: () => undefined };
    await expect(downloader.download(listed!, place.path("x"), how)).rejects.toMatchObject({
      code: "object_changed",
    });
    expect(place.files()).toEqual([]);
  });

  test.each([0, 1, 70_000, 262_144, 3_000_001])(
    "a download cut after %d bytes goes on there",
    async (cut) => {
      const small = randomBytes(300_000);
      const large = randomBytes(11 * MiB);
      await place.put("p/small", small);
      await place.putInParts("p/large", large);
      place.s3.faults.add({ operation: "GetObject", cutAfterBytes: cut, count: 3 });
      expect(counts(await download("s3://data/p", "d"))).toEqual({ downloaded: 2 });
      expect(place.read("d/small").equals(small)).toBe(true);
      expect(place.read("d/large").equals(large)).toBe(true);
    },
  );

  test.each([0, 1, 100_000, 5_000_000])("an upload cut after %d bytes is sent again", async (cut) => {
    const small = randomBytes(300_000);
    const large = randomBytes(11 * MiB);
    place.file("src/small", small);
    place.file("src/large", large);
    place.s3.faults.add({ operation: ["PutObject", "UploadPart"], cutUploadAfterBytes: cut, count: 2 });
    const summary = await copy(place.connection, [place.path("src")], "s3://data/p", { recursive: true });
    expect(counts(summary)).toEqual({ uploaded: 2 });
    expect((await place.get("p/small")).equals(small)).toBe(true);
    expect((await place.get("p/large")).equals(large)).toBe(true);
  });

  test("a download that is interrupted is taken up by the next one", async () => {
    const content = randomBytes(31 * MiB);
    await place.putInParts("big", content);
    const fault = place.s3.faults.add({ operation: "GetObject", skip: 3, hold: true });
    const controller = new AbortController();
    const stopped = copy(place.connection, ["s3://data/big"], place.path("big"), {
      signal: controller.signal,
    });
    await fault.hit();
    await ranges(place.path("big"), 3);
    controller.abort();
    const first = await stopped;
    expect(first).toMatchObject({ interrupted: true, failed: 0 });
    expect(place.files()).not.toContain("big");
    fault.remove();
    await place.quiet();
    const before = place.requests("GetObject");
    expect(counts(await copy(place.another(), ["s3://data/big"], place.path("big")))).toEqual({
      downloaded: 1,
    });
    expect(place.read("big").equals(content)).toBe(true);
    expect(place.files()).toEqual(["big"]);
    expect(place.requests("GetObject") - before).toBe(4);
  });

  test("what is left of a download is believed only as far as it is right", async () => {
    const content = randomBytes(16 * MiB);
    await place.putInParts("big", content);
    const [object] = await place.objects("big");
    const target = place.path("big");
    const identity = {
      store: (await place.store()).identity,
      key: "big",
      etag: object!.etag,
      sizeBytes: content.length,
      rangeBytes: 5 * MiB,
      algorithm: "crc32c",
    };
    writeFileSync(partialPath(target), Buffer.alloc(content.length));
    writeFileSync(
      partialStatePath(partialPath(target)),
      `${JSON.stringify(identity)}\n0 1234\n1 abcdef\n2 77`,
    );
    expect(counts(await copy(place.connection, ["s3://data/big"], target))).toEqual({ downloaded: 1 });
    expect(place.read("big").equals(content)).toBe(true);
    expect(place.files()).toEqual(["big"]);
  });

  test("an upload that is interrupted is taken up by the next one", async () => {
    const content = randomBytes(31 * MiB);
    const path = place.file("big", content);
    const fault = place.s3.faults.add({ operation: "UploadPart", skip: 4, hold: true });
    const controller = new AbortController();
    const stopped = copy(place.connection, [path], "s3://data/big", { signal: controller.signal });
    await fault.hit(3);
    await vi.waitFor(() => expect(place.requests("UploadPart")).toBe(4), 30_000);
    controller.abort();
    expect((await stopped).interrupted).toBe(true);
    fault.remove();
    await place.quiet();
    expect(counts(await copy(place.another(), [path], "s3://data/big"))).toEqual({ uploaded: 1 });
    expect((await place.get("big")).equals(content)).toBe(true);
    expect(place.requests("CreateMultipartUpload")).toBe(1);
    expect(await (await place.store()).listMultiparts("")).toEqual([]);
  });

  test("an upload left of another content is thrown away", async () => {
    const path = place.file("big", randomBytes(11 * MiB));
    const fault = place.s3.faults.add({ operation: "UploadPart", skip: 1, hold: true });
    const controller = new AbortController();
    const stopped = copy(place.connection, [path], "s3://data/big", { signal: controller.signal });
    await fault.hit(2);
    controller.abort();
    await stopped;
    fault.remove();
    await place.quiet();
    const content = randomBytes(11 * MiB);
    place.file("big", content);
    await copy(place.another(), [path], "s3://data/big");
    expect((await place.get("big")).equals(content)).toBe(true);
    expect(await (await place.store()).listMultiparts("")).toEqual([]);
  });

  test("nothing is begun after an interruption", async () => {
    for (let at = 0; at < 60; at++) await place.put(`p/${at}`, "x");
    const controller = new AbortController();
    controller.abort();
    const summary = await download("s3://data/p", "d", { signal: controller.signal });
    expect(summary).toMatchObject({ interrupted: true, downloaded: 0, failed: 0 });
    expect(place.files()).toEqual([]);
  });

  test("a stream that breaks off leaves nothing", async () => {
    // oxlint-disable-next-line require-await
    async function* input(): AsyncGenerator<Uint8Array> {
      yield randomBytes(12 * MiB);
      throw new Error("the pipe broke");
    }
    const summary = await copy(place.connection, ["-"], "s3://data/s", {
      streams: { input: input(), output: () => Promise.resolve() },
    });
    expect(summary.failed).toBe(1);
    expect(await place.keys()).toEqual([]);
    expect(await (await place.store()).listMultiparts("")).toEqual([]);
  });
});

/** Resolves when a partial file's state names so many ranges. */
async function ranges(target: string, count: number): Promise<void> {
  await vi.waitFor(() => {
    const lines = readFileSync(partialStatePath(partialPath(target)), "utf8").split("\n").length - 2;
    if (lines < count) throw new Error(`${lines} ranges so far`);
  }, 30_000);
}
