/**
 * A writable mount against a local folder, over random histories: the same commands answer the same, and after each
 * history bucket, mount and local folder hold the same tree. Daemons are killed and mounts end in between.
 *
 * HAWSER_TEST_RUNS sets how many histories (then whatever time they take), HAWSER_TEST_SEED which.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testClient } from "../support/dev-s3.ts";
import { type FileCommand, carryOut } from "./file-commands.ts";
import { World, eventually, isRunning } from "./harness.ts";
import { folderTree, objectsTree, openMultiparts, storedObjects } from "./stored-tree.ts";

const ASKED = process.env["HAWSER_TEST_RUNS"];
const RUNS = Number(ASKED ?? 12);
/** Random histories that would begin after this are left out: one with its crashes takes seconds. */
const TIME_LIMIT_MS = ASKED === undefined ? 25_000 : 60_000 + RUNS * 5000;
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
  const { code, stderr } = await world.hawser([
    "mount",
    `s3://${world.bucket}/volume/`,
    mounted,
    "--writable",
  ]);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
}

async function hawser(...args: string[]): Promise<void> {
  const { code, stderr } = await world.hawser(args);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
}

async function crash(): Promise<void> {
  const pid = Number((await world.status(mounted))["pid"]);
  process.kill(pid, "SIGKILL");
  await eventually("the daemon ends", () => !isRunning(pid));
  await mount();
}

async function play(steps: readonly Step[]): Promise<void> {
  const history = `history-${++histories}`;
  const here = (): string => path.join(mounted, history);
  const there = path.join(local, history);
  await mkdir(here());
  await mkdir(there);
  for (const [index, step] of steps.entries()) {
    if (step.op === "flush") await hawser("flush", mounted);
    else if (step.op === "crash") await crash();
    else if (step.op === "remount") {
      await hawser("unmount", mounted);
      await mount();
    } else {
      const answer = await carryOut(here(), step);
      expect(answer, `step ${index}: ${JSON.stringify(step)}`).toBe(await carryOut(there, step));
    }
  }
  const wanted = await folderTree(there);
  expect(await folderTree(here()), "the mount").toEqual(wanted);
  await hawser("flush", mounted);
  const client = testClient(world.s3);
  const objects = await storedObjects(client, world.bucket, `volume/${history}/`);
  expect(await openMultiparts(client, world.bucket)).toEqual([]);
  client.destroy();
  expect(objectsTree(objects), "the bucket").toEqual(wanted);
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

test(
  "the same commands leave the same tree, across crashes and remounts",
  async () => {
    const began = performance.now();
    await play(EXAMPLE);
    const history = fc.array(anyStep, { minLength: 10, maxLength: 60, size: "max" });
    // A history that has begun is played to its end, however long a busy machine takes for it.
    const playInTime = async (steps: readonly Step[]): Promise<void> => {
      if (performance.now() - began < TIME_LIMIT_MS) await play(steps);
    };
    await fc.assert(fc.asyncProperty(history, playInTime), {
      numRuns: RUNS,
      ...(SEED === undefined ? {} : { seed: Number(SEED) }),
    });
  },
  TIME_LIMIT_MS + 600_000,
);
