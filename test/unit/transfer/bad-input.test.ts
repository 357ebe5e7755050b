/** Full disks, denied keys, limits of rate, and syncs that are interrupted or killed: and the rerun that completes. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { copy } from "../../../src/transfer/copy.ts";
import { remove } from "../../../src/transfer/remove.ts";
import { sync } from "../../../src/transfer/sync.ts";
import { ENGINES, MiB, Place, counts, failures } from "./place.ts";
import { Programs } from "./programs.ts";
import type { Started } from "./programs.ts";

let place: Place;
const programs = new Programs();
let mounted: string | undefined;
afterEach(async () => {
  programs.close();
  if (mounted !== undefined) spawnSync("umount", [mounted]);
  mounted = undefined;
  await place[Symbol.asyncDispose]();
});

/** A disk that holds 8 MiB. */
function smallDisk(): string {
  const disk = place.path("disk");
  mkdirSync(disk);
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=8M", "tmpfs", disk]);
  if (status !== 0) throw new Error(stderr.toString());
  mounted = disk;
  return disk;
}

describe.each(ENGINES)("with the %s engine", (engine) => {
  beforeEach(async () => {
    place = await Place.open(engine);
  });

  test("a disk that is full fails what does not fit and nothing else, and leaves nothing torn", async () => {
    const disk = smallDisk();
    const small = randomBytes(100_000);
    await place.put("p/a", small);
    await place.putInParts("p/big", randomBytes(11 * MiB));
    await place.put("p/z", small);
    const source = ["s3://data/p"];
    const summary = await copy(place.connection, source, disk, { recursive: true });
    expect(failures(summary)).toEqual({ "s3://data/p/big": "no_space" });
    expect(readdirSync(disk).filter((name) => !name.startsWith("."))).toEqual(["a", "z"]);
    expect(statSync(`${disk}/z`).size).toBe(100_000);
  });

  test("a disk that fills up under small files: what is there is whole, and the rerun completes with room", async () => {
    const disk = smallDisk();
    const content = randomBytes(MiB);
    for (let at = 10; at < 22; at++) await place.put(`p/${at}`, content);
    const summary = await sync(place.connection, "s3://data/p", disk);
    expect(summary.downloaded).toBeGreaterThan(0);
    expect(summary.failed).toBe(12 - summary.downloaded);
    expect(new Set(Object.values(failures(summary)))).toEqual(new Set(["no_space"]));
    const there = readdirSync(disk).filter((name) => !name.startsWith("."));
    expect(there).toHaveLength(summary.downloaded);
    for (const name of there) expect(statSync(`${disk}/${name}`).size, name).toBe(MiB);
    spawnSync("mount", ["-o", "remount,size=32M", disk]);
    const again = await sync(place.another(), "s3://data/p", disk);
    expect(counts(again)).toMatchObject({ downloaded: summary.failed });
    expect(readdirSync(disk)).toHaveLength(12);
  });
});

describe("one key that is denied", () => {
  beforeEach(async () => {
    place = await Place.open("lean", {
      policy: ({ action, key }) => !(action === "s3:DeleteObject" && key === "p/b"),
    });
    for (const name of ["a", "b", "c"]) await place.put(`p/${name}`, name);
  });

  test("does not stop the others from being removed", async () => {
    const summary = await remove(place.connection, [{ kind: "s3", bucket: "data", key: "p" }], {
      recursive: true,
    });
    expect(counts(summary)).toEqual({ deleted: 2, failed: 1 });
    expect(failures(summary)).toEqual({ "s3://data/p/b": "access_denied" });
    expect(await place.keys()).toEqual(["p/b"]);
  });

  test("does not stop sync --delete, nor mv", async () => {
    mkdirSync(place.path("empty"));
    const summary = await sync(place.connection, place.path("empty"), "s3://data/p", { delete: true });
    expect(failures(summary)).toEqual({ "s3://data/p/b": "access_denied" });
    for (const name of ["a", "c"]) await place.put(`p/${name}`, name);
    const moved = await copy(place.connection, ["s3://data/p"], place.path("d"), {
      recursive: true,
      move: true,
    });
    expect(failures(moved)).toEqual({ "s3://data/p/b": "access_denied" });
    expect(place.files("d")).toEqual(["a", "b", "c"]);
    expect(await place.keys()).toEqual(["p/b"]);
  });
});

const start = (...argv: string[]): Started => programs.start(place, ["s3", ...argv]);

describe.each([
  ["SIGINT", 130],
  ["SIGKILL", null],
] as const)("a sync ended by %s", (signal, code) => {
  beforeEach(async () => {
    place = await Place.open("lean");
  });

  test("from a bucket: nothing torn, nothing deleted, and the rerun sends only the rest", async () => {
    for (let at = 100; at < 160; at++) await place.put(`p/${at}`, `content ${at}`);
    await place.putInParts("p/big", randomBytes(11 * MiB));
    place.file("d/extra", "x");
    const fault = place.s3.faults.add({ operation: "GetObject", skip: 20, hold: true });
    const command = ["sync", "--delete", "--yes", "--part-size", "5MiB", "s3://data/p", place.path("d")];
    const { child, ended } = start(...command);
    await fault.hit();
    child.kill(signal);
    expect((await ended).code).toBe(code);
    expect(place.files("d")).toContain("extra");
    for (const name of place.files("d").filter((one) => /^\d+$/.test(one)))
      expect(place.read(`d/${name}`).toString()).toBe(`content ${name}`);
    fault.remove();
    await place.quiet();
    expect((await start(...command).ended).code).toBe(0);
    expect(place.files("d")).toHaveLength(61);
    const before = place.requests("GetObject");
    expect((await start(...command).ended).code).toBe(0);
    expect(place.requests("GetObject")).toBe(before);
  });

  test("to a bucket: the rerun completes it, and no upload is left open", async () => {
    for (let at = 100; at < 160; at++) place.file(`d/${at}`, `content ${at}`);
    const big = randomBytes(21 * MiB);
    place.file("d/big", big);
    await place.put("p/extra", "x");
    const fault = place.s3.faults.add({ operation: "UploadPart", skip: 1, hold: true });
    const command = ["sync", "--delete", "--yes", "--part-size", "5MiB", place.path("d"), "s3://data/p"];
    const { child, ended } = start(...command);
    await fault.hit();
    child.kill(signal);
    expect((await ended).code).toBe(code);
    expect(await place.keys()).toContain("p/extra");
    expect(await place.keys()).not.toContain("p/big");
    fault.remove();
    await place.quiet();
    expect((await start(...command).ended).code).toBe(0);
    expect(await place.keys()).toHaveLength(61);
    expect((await place.get("p/big")).equals(big)).toBe(true);
    expect(await (await place.store()).listMultiparts("")).toEqual([]);
    expect(place.requests("CreateMultipartUpload")).toBe(1);
  });

  test("from bucket to bucket: the rerun completes it", async () => {
    for (let at = 100; at < 140; at++) await place.put(`p/${at}`, `content ${at}`);
    const fault = place.s3.faults.add({ operation: "CopyObject", skip: 10, hold: true });
    const command = ["sync", "s3://data/p", "s3://other/p"];
    const { child, ended } = start(...command);
    await fault.hit();
    child.kill(signal);
    expect((await ended).code).toBe(code);
    fault.remove();
    await place.quiet();
    expect((await start(...command).ended).code).toBe(0);
    expect(await place.keys("p/", "other")).toHaveLength(40);
  });
});

test("--max-rate bounds what goes up and down, of all files together", async () => {
  place = await Place.open("lean");
  for (const name of ["a", "b", "c"]) place.file(`d/${name}`, randomBytes(2 * MiB));
  for (const [from, to] of [
    [place.path("d"), "s3://data/p"],
    ["s3://data/p", place.path("back")],
  ] as const) {
    const { code, out } = await start("cp", "-r", "--json", "--max-rate", "4MiB", from, to).ended;
    expect(code).toBe(0);
    const summary = JSON.parse(out.trim().split("\n").at(-1)!) as { elapsedMs: number; bytes: number };
    expect(summary.bytes).toBe(6 * MiB);
    // The third file's turn is a second after the first one's.
    expect(summary.elapsedMs).toBeGreaterThan(990);
  }
  rmSync(place.path("back"), { recursive: true });
});
