/**
 * A writable mount against a local folder, over random histories: the same commands answer the same, and after each
 * history bucket, mount and local folder hold the same tree. Daemons are killed and mounts end in between.
 *
 * HAWSER_TEST_RUNS sets how many histories (then whatever time they take), HAWSER_TEST_SEED which. A failure tells in its
 * first line the seed, the history's number and the step. It is not made smaller: what a crash brings about once need not
 * come about again, and then another failure would be shown.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, test } from "vitest";
import { testClient } from "../support/dev-s3.ts";
import { type FileCommand, carryOut } from "./file-commands.ts";
import { World, eventually, isRunning } from "./harness.ts";
import { differences, folderTree, objectsTree, openMultiparts, storedObjects } from "./stored-tree.ts";
import type { Tree } from "./stored-tree.ts";

const ASKED = process.env["HAWSER_TEST_RUNS"];
const RUNS = Number(ASKED ?? 12);
/** Random histories that would begin after this are left out: one with its crashes takes seconds. */
const TIME_LIMIT_MS = ASKED === undefined ? 25_000 : 60_000 + RUNS * 5000;
/** Of the daemons' logs, what a failure tells. */
const LOG_LINES = 40;
const SEED = process.env["HAWSER_TEST_SEED"];

type Step = FileCommand | { op: "flush" } | { op: "remount" } | { op: "crash" };

const name = fc.constantFrom("a", "b", "a.b", "é");
/** Mostly near the root, so that commands meet. */
const at = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const bytes = fc.oneof(
  { weight: 6, arbitrary: fc.nat(9000) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1 << 20, (1 << 20) + 1, 3_000_000) },
);
const seed = fc.nat(1000);

function step<Op extends FileCommand["op"]>(
  weight: number,
  op: Op,
  fields: {
    [Field in Exclude<keyof (FileCommand & { op: Op }), "op" | "path">]: fc.Arbitrary<
      (FileCommand & { op: Op })[Field]
    >;
  },
): fc.WeightedArbitrary<Step> {
  return { weight, arbitrary: fc.record({ op: fc.constant(op), path: at, ...fields }) as fc.Arbitrary<Step> };
}

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  step(6, "write", { bytes, seed }),
  step(4, "append", { bytes, seed }),
  step(4, "overwrite", { offset: fc.nat(20_000), bytes, seed }),
  step(3, "truncate", { bytes }),
  step(5, "save", { bytes, seed, fsync: fc.constantFrom(false, false, true) }),
  step(3, "writeAcross", { to: fc.option(at, { nil: undefined }), bytes, seed }),
  step(8, "rename", { to: at }),
  step(3, "unlink", {}),
  step(1, "removeAll", {}),
  step(6, "mkdir", {}),
  step(2, "rmdir", {}),
  step(2, "symlink", { target: fc.constantFrom("a", "../b", "nowhere") }),
  step(2, "chmod", { mode: fc.constantFrom(0o600, 0o755, 0o444) }),
  step(1, "utimes", { seconds: fc.nat(2 ** 31) }),
  step(6, "read", {}),
  step(3, "list", {}),
  { weight: 2, arbitrary: fc.constant<Step>({ op: "flush" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ op: "remount" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ op: "crash" }) },
);

let world: World;
let local: string;
let mounted: string;
let histories = 0;

beforeAll(async () => {
  local = await mkdtemp(path.join(tmpdir(), "hawser-model-"));
  world = await World.open();
  await world.mountPoint();
  await mount();
});
afterAll(async () => {
  await world?.close();
  await rm(local, { recursive: true, force: true });
});

async function mount(): Promise<void> {
  // Not looked at: a dead mount may still be there, which the program clears.
  mounted = path.join(world.folder, "mnt");
  await hawser("mount", `s3://${world.bucket}/volume/`, mounted, "--writable");
}

async function hawser(...args: string[]): Promise<void> {
  const { code, stderr } = await world.hawser(args);
  if (code !== 0) throw new Error(`hawser ${args[0]} ended with ${code}: ${stderr.trim()}`);
}

async function crash(): Promise<void> {
  const pid = Number((await world.status(mounted))["pid"]);
  process.kill(pid, "SIGKILL");
  await eventually("the daemon ends", () => !isRunning(pid));
  await mount();
}

/** @throws Error with a message of one line, which says where in the history */
async function within<T>(where: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw new Error(`${where}: ${oneLine(error)}`, { cause: error });
  }
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ");
}

function expectTree(what: string, found: Tree, wanted: Tree): void {
  const different = differences(found, wanted);
  if (different.length > 0) throw new Error(`${what} differs: ${different.join("; ")}`);
}

async function carryOutStep(step: Step, here: string, there: string): Promise<void> {
  if (step.op === "flush") await hawser("flush", mounted);
  else if (step.op === "crash") await crash();
  else if (step.op === "remount") {
    await hawser("unmount", mounted);
    await mount();
  } else {
    const answer = await carryOut(here, step);
    const wanted = await carryOut(there, step);
    if (answer !== wanted) throw new Error(`the mount answers '${answer}', the local folder '${wanted}'`);
  }
}

async function play(steps: readonly Step[]): Promise<void> {
  const history = `history-${++histories}`;
  const here = path.join(mounted, history);
  const there = path.join(local, history);
  await within("before step 0", async () => {
    await mkdir(here);
    await mkdir(there);
  });
  for (const [index, step] of steps.entries())
    await within(`step ${index} ${JSON.stringify(step)}`, () => carryOutStep(step, here, there));
  await within("after the last step", async () => {
    const wanted = await folderTree(there);
    expectTree("the mount", await folderTree(here), wanted);
    await hawser("flush", mounted);
    const client = testClient(world.s3);
    const objects = await storedObjects(client, world.bucket, `volume/${history}/`);
    const multiparts = await openMultiparts(client, world.bucket);
    client.destroy();
    expectTree("the bucket", objectsTree(objects), wanted);
    if (multiparts.length > 0) throw new Error(`multiparts are left open: ${multiparts.join(" ")}`);
  });
}

/** Has each of what happens to a mount, right behind a change and later. */
const EXAMPLE: Step[] = [
  { op: "mkdir", path: "a" },
  { op: "crash" },
  { op: "mkdir", path: "a/b" },
  { op: "write", path: "a/b/a", bytes: 5000, seed: 1 },
  { op: "rename", path: "a/b", to: "b" },
  { op: "crash" },
  { op: "append", path: "b/a", bytes: 100, seed: 2 },
  { op: "flush" },
  { op: "rename", path: "b/a", to: "a/a" },
  { op: "remount" },
  { op: "rename", path: "a", to: "a.b" },
  { op: "unlink", path: "a.b/a" },
  { op: "crash" },
  { op: "list", path: "a.b" },
];

/** What was renamed away from a name is still there when the name is taken again, and given away again. */
const SAVED_AGAIN: Step[] = [
  { op: "save", path: "b", bytes: 100, seed: 1, fsync: true },
  { op: "save", path: "b", bytes: 200, seed: 2, fsync: false },
  { op: "save", path: "b", bytes: 300, seed: 3, fsync: true },
  { op: "write", path: "b.tmp", bytes: 50, seed: 4 },
  { op: "unlink", path: "b.tmp" },
  { op: "save", path: "b", bytes: 400, seed: 5, fsync: true },
  { op: "write", path: "b.tmp", bytes: 60, seed: 6 },
  { op: "crash" },
  { op: "rename", path: "b.tmp", to: "a" },
  { op: "list", path: "" },
];

test(
  "the same commands leave the same tree, across crashes and remounts",
  async () => {
    const began = performance.now();
    await within("the first example", () => play(EXAMPLE));
    await within("the second example", () => play(SAVED_AGAIN));
    const history = fc.array(anyStep, { minLength: 10, maxLength: 60, size: "max" });
    // A history that has begun is played to its end, however long a busy machine takes for it.
    const playInTime = async (steps: readonly Step[]): Promise<void> => {
      if (performance.now() - began < TIME_LIMIT_MS) await play(steps);
    };
    const { failed, seed, numRuns, counterexample, errorInstance } = await fc.check(
      fc.asyncProperty(history, playInTime),
      { numRuns: RUNS, endOnFailure: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    );
    if (!failed) return;
    const where = `HAWSER_TEST_SEED=${seed}, history ${numRuns}`;
    const steps = JSON.stringify(counterexample?.[0]);
    const logged = (await world.logs()).trimEnd().split("\n").slice(-LOG_LINES).join("\n");
    throw new Error(`${where}, ${oneLine(errorInstance)}\nIts steps: ${steps}\nLogged: ${logged}`, {
      cause: errorInstance,
    });
  },
  TIME_LIMIT_MS + 600_000,
);
