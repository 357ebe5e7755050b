/** `hawser s3 cp` and `sync` as programs: interrupted, killed, without a terminal, through pipes. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { partialPath, partialStatePath } from "../../../src/transfer/partial-name.ts";
import { MiB, Place } from "./place.ts";
import { Programs } from "./programs.ts";
import type { Ended, Started } from "./programs.ts";

let place: Place;
const programs = new Programs();

beforeEach(async () => {
  place = await Place.open("lean");
});

afterEach(async () => {
  programs.close();
  await place[Symbol.asyncDispose]();
});

const start = (argv: string[], input?: Uint8Array): Started =>
  programs.start(place, ["s3", ...argv], { input });

const hawser = (...argv: string[]): Promise<Ended> => start(argv).ended;

test.each([
  ["SIGINT", 130],
  ["SIGKILL", null],
] as const)("a download ended by %s is completed by the same command", async (signal, code) => {
  const content = randomBytes(35 * MiB);
  await place.putInParts("big", content);
  const target = place.path("big");
  const fault = place.s3.faults.add({ operation: "GetObject", skip: 2, hold: true });
  const command = ["cp", "--part-size", "5MiB", "s3://data/big", target];
  const { child, ended } = start(command);
  const state = partialStatePath(partialPath(target));
  await vi.waitFor(() => {
    const lines = existsSync(state) ? readFileSync(state, "utf8").split("\n").length - 2 : 0;
    if (lines < 2) throw new Error(`${lines} ranges so far`);
  }, 30_000);
  child.kill(signal);
  const first = await ended;
  expect(first.code).toBe(code);
  if (signal === "SIGINT") expect(first.err).toContain("run the same command again");
  expect(existsSync(target)).toBe(false);
  fault.remove();
  await place.quiet();
  const before = place.requests("GetObject");
  expect(await hawser(...command)).toMatchObject({ code: 0 });
  expect(readFileSync(target).equals(content)).toBe(true);
  expect(place.files()).toEqual(["big"]);
  expect(place.requests("GetObject") - before).toBe(5);
});

test.each(["SIGINT", "SIGKILL"] as const)(
  "an upload ended by %s is completed by the same command",
  async (signal) => {
    const content = randomBytes(35 * MiB);
    const path = place.file("big", content);
    const fault = place.s3.faults.add({ operation: "UploadPart", skip: 3, hold: true });
    const command = ["cp", "--part-size", "5MiB", path, "s3://data/big"];
    const { child, ended } = start(command);
    await fault.hit(4);
    child.kill(signal);
    await ended;
    expect(await place.keys()).toEqual([]);
    fault.remove();
    await place.quiet();
    expect(await hawser(...command)).toMatchObject({ code: 0 });
    expect((await place.get("big")).equals(content)).toBe(true);
    expect(place.requests("CreateMultipartUpload")).toBe(1);
    expect(await (await place.store()).listMultiparts("")).toEqual([]);
  },
);

test("many small files ended by SIGKILL: the rerun completes and nothing else is left", async () => {
  for (let at = 0; at < 200; at++) await place.put(`p/${at}`, `content ${at}`);
  const fault = place.s3.faults.add({ operation: "GetObject", skip: 50, hold: true });
  const command = ["cp", "-r", "s3://data/p", place.path("d")];
  const { child, ended } = start(command);
  await fault.hit();
  child.kill("SIGKILL");
  await ended;
  fault.remove();
  expect(await hawser(...command)).toMatchObject({ code: 0 });
  expect(place.files("d")).toHaveLength(200);
});

test("standard input and output", async () => {
  const content = randomBytes(300_000);
  expect(await start(["cp", "-", "s3://data/in"], content).ended).toMatchObject({ code: 0 });
  const { bytes, code } = await hawser("cp", "-q", "s3://data/in", "-");
  expect(code).toBe(0);
  expect(bytes.equals(content)).toBe(true);
});

test("what would ask is refused at once where nobody can answer, and --yes answers", async () => {
  await place.put("p/old", "x");
  place.file("here/new", "y");
  const refused = await hawser("sync", "--delete", place.path("here"), "s3://data/p");
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.err).toContain("--yes");
  expect(await place.keys()).toEqual(["p/old"]);
  expect(await hawser("sync", "--delete", "--yes", place.path("here"), "s3://data/p")).toMatchObject({
    code: 0,
  });
  expect(await place.keys()).toEqual(["p/new"]);
});

test("--json gives a line for each event and the result last; the exit code says what failed", async () => {
  await place.put("p/a", "a");
  await place.put("p/b", "b");
  place.s3.faults.add({ operation: "GetObject", key: "p/b", error: "AccessDenied" });
  const { code, out } = await hawser("cp", "-r", "--json", "s3://data/p", place.path("d"));
  const lines = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(code).toBe(5);
  expect(lines.filter(({ type }) => type === "done")).toMatchObject([
    { action: "download", source: "s3://data/p/a" },
  ]);
  expect(lines.at(-1)).toMatchObject({ type: "summary", downloaded: 1, failed: 1, interrupted: false });
});

test.each([
  [["cp", "a", "b"], "are both local"],
  [["cp", "s3://data/x"], "SOURCE... TARGET"],
  [["cp", "--concurrency", "0", "a", "s3://data/x"], "--concurrency"],
  [["cp", "--part-size", "1MiB", "a", "s3://data/x"], "5MiB"],
  [["upload", "s3://data/a", "b"], "local files"],
  [["download", "a", "s3://data/b"], "local path"],
  [["frobnicate"], "not a command"],
])("%j is refused with exit code 2", async (args, words) => {
  const { code, err } = await hawser(...args);
  expect(code).toBe(2);
  expect(err).toContain(words);
});
