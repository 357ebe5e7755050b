/** `hawser checkpoint push`: order, comparison, pruning, watching; killed anywhere, and the rerun that completes. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Checkpoints } from "../../../../src/transfer/checkpoint/checkpoints.ts";
import type { WatchPushOptions } from "../../../../src/transfer/checkpoint/checkpoints.ts";
import type { TransferEvent } from "../../../../src/transfer/events.ts";
import { MiB, Place } from "../place.ts";
import { deepSpeed, distributed, huggingFace, place as placeFiles, torchFile } from "./layouts.ts";
import { Programs } from "../programs.ts";
import type { Ended, Started } from "../programs.ts";

const RUN = "s3://data/run";

let place: Place;
let checkpoints: Checkpoints;
const programs = new Programs();
beforeEach(async () => {
  place = await Place.open("lean");
  checkpoints = new Checkpoints(place.connection);
});
afterEach(async () => {
  programs.close();
  await place[Symbol.asyncDispose]();
});

const out = (): string => place.path("out");
const stepsIn = async (): Promise<string[]> => [
  ...new Set((await place.keys("run/")).map((key) => key.split("/")[1]!)),
];

const start = (...argv: string[]): Started => programs.start(place, ["checkpoint", ...argv]);

const hawser = (...argv: string[]): Promise<Ended> => start(...argv).ended;

test("what its writer made last is uploaded last, and the file that names the newest step behind it", async () => {
  placeFiles(out(), { ...huggingFace(10), ...deepSpeed(20) });
  const done: string[] = [];
  const onEvent = (event: TransferEvent): void => void (event.type === "done" && done.push(event.target!));
  const { pushed, summary } = await checkpoints.push(out(), RUN, { onEvent });
  expect(summary).toMatchObject({ failed: 0, uploaded: 11 });
  expect(pushed).toEqual([`${RUN}/checkpoint-10`, `${RUN}/global_step20`]);
  const at = (name: string): number => done.findIndex((target) => target.endsWith(name));
  for (const marker of ["index.json", "trainer_state.json"])
    expect(at(marker)).toBeGreaterThan(
      Math.max(at("optimizer.pt"), at("00002.safetensors"), at("config.json")),
    );
  expect(done.at(-1)).toBe(`${RUN}/latest`);
  expect(await checkpoints.verify(RUN, { against: out() })).toMatchObject([{}, {}]);
  const again = await checkpoints.push(out(), RUN);
  expect(again).toMatchObject({ pushed: [], present: pushed, summary: { uploaded: 0 } });
});

test("one that is being written waits, and those before it go", async () => {
  const { "step_200/.metadata": _missing, ...torn } = distributed(200);
  placeFiles(out(), { ...distributed(100), ...torn });
  expect((await checkpoints.push(out(), RUN)).pushed).toEqual([`${RUN}/step_100`]);
  expect(await stepsIn()).toEqual(["step_100"]);
});

test("a checkpoint alone is pushed under its own name", async () => {
  placeFiles(out(), { ...distributed(100), ...distributed(200) });
  expect((await checkpoints.push(join(out(), "step_100"), RUN)).pushed).toEqual([`${RUN}/step_100`]);
  expect(await stepsIn()).toEqual(["step_100"]);
});

test("then-prune keeps what the rules say, and does not send what it would remove", async () => {
  const all = [10, 20, 30, 40].map((step) => huggingFace(step, { eval_loss: step === 10 ? 0 : 1 }));
  placeFiles(out(), Object.assign({}, ...all) as Record<string, string>);
  const rules = { thenPrune: { keepLast: 2, best: "eval_loss" } };
  expect((await checkpoints.push(out(), RUN, rules)).summary).toMatchObject({ uploaded: 21, deleted: 0 });
  expect(await stepsIn()).toEqual(["checkpoint-10", "checkpoint-30", "checkpoint-40"]);
  placeFiles(out(), huggingFace(50));
  expect((await checkpoints.push(out(), RUN, rules)).summary).toMatchObject({ uploaded: 7, deleted: 1 });
  expect(await stepsIn()).toEqual(["checkpoint-10", "checkpoint-40", "checkpoint-50"]);
});

test.each([
  [
    "an upload is refused",
    { operation: "PutObject", key: "run/step_200/__1_0.distcp", error: "AccessDenied" },
  ],
  ["the marker is refused", { operation: "PutObject", key: "run/step_200/.metadata", error: "AccessDenied" }],
] as const)("nothing is pruned when %s", async (_what, fault) => {
  placeFiles(out(), distributed(100));
  await checkpoints.push(out(), RUN);
  placeFiles(out(), distributed(200));
  place.s3.faults.add(fault);
  const { summary } = await checkpoints.push(out(), RUN, { thenPrune: { keepLast: 1 } });
  expect(summary.failed).toBe(1);
  expect(summary.deleted).toBe(0);
  expect(await checkpoints.latest(RUN)).toBe(`${RUN}/step_100`);
  place.s3.faults.clear();
  const again = await checkpoints.push(out(), RUN, { thenPrune: { keepLast: 1 } });
  expect(again.summary).toMatchObject({ failed: 0, deleted: 1 });
  expect(await stepsIn()).toEqual(["step_200"]);
});

test("nothing is pruned when the bucket does not have what was pushed", async () => {
  placeFiles(out(), distributed(100));
  await checkpoints.push(out(), RUN);
  const files = distributed(200);
  placeFiles(out(), files);
  // Somebody puts other bytes of the same length there, newer than the file: by size and time it is there.
  for (const [name, content] of Object.entries(files)) await place.put(`run/${name}`, content);
  await place.put("run/step_200/__0_0.distcp", torchFile("X"));
  const { summary } = await checkpoints.push(out(), RUN, { thenPrune: { keepLast: 1 } });
  expect(summary.failures.map(({ error }) => error.code)).toEqual(["checksum_mismatch"]);
  expect(await stepsIn()).toEqual(["step_100", "step_200"]);
});

test("watch uploads each step once it is complete, and prunes behind it", async () => {
  placeFiles(out(), distributed(100));
  const pushed: string[] = [];
  const ending = new AbortController();
  const options: WatchPushOptions = {
    thenPrune: { keepLast: 1 },
    intervalMs: 10,
    signal: ending.signal,
    onRound: (round) => void pushed.push(...round.pushed),
  };
  const watching = checkpoints.watch(out(), RUN, options);
  await vi.waitFor(() => expect(pushed).toEqual([`${RUN}/step_100`]), 30_000);
  const { "step_200/.metadata": marker, ...shards } = distributed(200);
  placeFiles(out(), shards, Date.now());
  // A later one that is complete at once: when it is there, the first has been looked at and left.
  placeFiles(out(), distributed(300), Date.now());
  await vi.waitFor(() => expect(pushed).toContain(`${RUN}/step_300`), 30_000);
  expect(pushed).not.toContain(`${RUN}/step_200`);
  await vi.waitFor(async () => expect(await stepsIn()).toEqual(["step_300"]), 30_000);
  // 200 is behind the newest now: it is not sent only to be pruned.
  placeFiles(out(), { "step_200/.metadata": marker!, ...distributed(400) }, Date.now());
  await vi.waitFor(() => expect(pushed).toContain(`${RUN}/step_400`), 30_000);
  expect(pushed).not.toContain(`${RUN}/step_200`);
  ending.abort();
  await watching;
  expect(await stepsIn()).toEqual(["step_400"]);
});

test("watch goes on through an outage, and says at once that a bucket is not there", async () => {
  placeFiles(out(), distributed(100));
  await expect(checkpoints.watch(out(), "s3://nowhere/run", {})).rejects.toMatchObject({
    code: "bucket_not_found",
  });
  rmSync(out(), { recursive: true });
  const rounds: { pushed: string[]; failed: number }[] = [];
  const ending = new AbortController();
  const onRound: WatchPushOptions["onRound"] = ({ pushed, summary }) =>
    void rounds.push({ pushed, failed: summary.failed });
  const watching = checkpoints.watch(out(), RUN, { intervalMs: 10, signal: ending.signal, onRound });
  // The folder comes after the watch has begun.
  placeFiles(out(), distributed(100));
  await vi.waitFor(() => expect(rounds.at(-1)?.pushed).toEqual([`${RUN}/step_100`]), 30_000);
  const fault = place.s3.faults.add({ error: "InvalidAccessKeyId" });
  placeFiles(out(), distributed(200));
  await vi.waitFor(() => expect(rounds.at(-1)?.failed).toBe(1), 30_000);
  fault.remove();
  await vi.waitFor(() => expect(rounds.at(-1)?.pushed).toEqual([`${RUN}/step_200`]), 30_000);
  ending.abort();
  await watching;
});

test("watch as a program: a line for each, and Ctrl-C ends it with 130", async () => {
  placeFiles(out(), distributed(100));
  const { child, ended, says } = start("push", out(), RUN, "--watch", "--interval", "50ms");
  await says(`${RUN}/step_100`);
  placeFiles(out(), distributed(200));
  await says(`${RUN}/step_200`);
  child.kill("SIGINT");
  expect((await ended).code).toBe(130);
});

test("killed in the middle of an upload, the bucket's newest is the one before, and the rerun completes", async () => {
  placeFiles(out(), distributed(100));
  await checkpoints.push(out(), RUN);
  const large = Buffer.alloc(12 * MiB, 3);
  placeFiles(out(), { ...distributed(200), "step_200/__1_0.distcp": large });
  const command = ["push", out(), RUN, "--then-prune", "--keep-last-n", "1", "--part-size", "5MiB"];
  const fault = place.s3.faults.add({ operation: "UploadPart", skip: 1, hold: true });
  const { child, ended } = start(...command);
  await fault.hit();
  child.kill("SIGKILL");
  await ended;
  expect(await checkpoints.latest(RUN)).toBe(`${RUN}/step_100`);
  expect(await place.keys("run/step_100/")).toHaveLength(3);
  fault.remove();
  await place.quiet();
  expect(await hawser(...command)).toMatchObject({ code: 0 });
  expect(await stepsIn()).toEqual(["step_200"]);
  expect((await place.get("run/step_200/__1_0.distcp")).equals(large)).toBe(true);
  expect(await (await place.store()).listMultiparts("")).toEqual([]);
});

test.each([
  [
    "before anything was removed",
    { operation: "PutObject", key: "run/step_100/.hawser-pruning", hold: true },
  ],
  ["when the shards are gone and the tombstone is not", { operation: "DeleteObjects", hold: true }],
] as const)(
  "killed in the middle of pruning, %s: no half is taken for a whole, and the rerun ends it",
  async (_when, rule) => {
    placeFiles(out(), { ...distributed(100), ...distributed(200) });
    await checkpoints.push(out(), RUN);
    rmSync(join(out(), "step_100"), { recursive: true });
    placeFiles(out(), distributed(300));
    const command = ["push", out(), RUN, "--then-prune", "--keep-last-n", "2"];
    const fault = place.s3.faults.add(rule);
    const { child, ended } = start(...command);
    await fault.hit();
    child.kill("SIGKILL");
    await ended;
    const states = (await checkpoints.list(RUN)).map(({ name, state }) => [name, state]);
    expect(states).toEqual([
      ["step_300", "complete"],
      ["step_200", "complete"],
      ["step_100", "removing"],
    ]);
    fault.remove();
    await place.quiet();
    expect(await hawser(...command)).toMatchObject({ code: 0 });
    expect(await stepsIn()).toEqual(["step_200", "step_300"]);
  },
);

test.each(["SIGKILL", "SIGINT"] as const)(
  "a pull ended by %s leaves no checkpoint, and the rerun completes",
  async (signal) => {
    const large = Buffer.alloc(12 * MiB, 3);
    placeFiles(out(), { ...distributed(200), "step_200/__1_0.distcp": large });
    await checkpoints.push(out(), RUN);
    const here = place.path("here");
    const fault = place.s3.faults.add({
      operation: "GetObject",
      key: "run/step_200/__1_0.distcp",
      hold: true,
    });
    const { child, ended } = start("pull", RUN, here);
    await fault.hit();
    child.kill(signal);
    expect((await ended).out).toBe("");
    await expect(checkpoints.latest(here)).rejects.toMatchObject({ code: "not_found" });
    fault.remove();
    await place.quiet();
    expect((await hawser("pull", RUN, here)).out.trim()).toBe(join(here, "step_200"));
    expect(readFileSync(join(here, "step_200/__1_0.distcp")).equals(large)).toBe(true);
    expect(place.files("here")).toEqual([
      "step_200/.metadata",
      "step_200/__0_0.distcp",
      "step_200/__1_0.distcp",
    ]);
  },
);
