/**
 * The daemon killed in the middle of a scripted workload, between steps and while requests are under way: mounted
 * again, nothing that was closed is lost, nothing is there twice or half.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import type { FileCommand } from "../e2e/file-commands.ts";
import { carryOut } from "../e2e/file-commands.ts";
import { eventually } from "../e2e/harness.ts";
import { folderTree } from "../e2e/stored-tree.ts";
import { compileChildPrograms } from "../support/child-programs.ts";
import { CrashWorld } from "./crash-world.ts";
import { FileAccess } from "./file-access.ts";

/** Steps after which everything is brought to the bucket, so that the next ones meet objects that are there. */
const WORKLOAD: readonly (readonly FileCommand[])[] = [
  [
    { op: "mkdir", path: "run" },
    { op: "write", path: "run/config.json", bytes: 900, seed: 1 },
    { op: "save", path: "run/small.pt", bytes: 300_000, seed: 2, fsync: false },
    { op: "write", path: "run/large.pt", bytes: 40 * MiB, seed: 3 },
    { op: "write", path: "run/log", bytes: 5000, seed: 4 },
    { op: "mkdir", path: "empty" },
    { op: "symlink", path: "latest", target: "run/small.pt" },
  ],
  [
    { op: "rename", path: "run/large.pt", to: "run/previous.pt" },
    { op: "save", path: "run/small.pt", bytes: 400_000, seed: 5, fsync: false },
    { op: "append", path: "run/log", bytes: 700, seed: 6 },
    { op: "overwrite", path: "run/previous.pt", offset: 21 * MiB, bytes: 5000, seed: 7 },
    { op: "chmod", path: "run/config.json", mode: 0o600 },
    { op: "rename", path: "run", to: "done" },
    { op: "unlink", path: "done/log" },
    { op: "write", path: "run", bytes: 10, seed: 8 },
  ],
  [
    { op: "removeAll", path: "done" },
    { op: "rmdir", path: "empty" },
    { op: "write", path: "last", bytes: 20, seed: 9 },
  ],
];

/** While a request of this kind is under way in this part of the workload. */
interface RequestPoint {
  part: number;
  operation: string;
  effect: "before" | "after";
  keyPrefix?: string;
}

/** Or when so many steps were answered. */
type KillPoint = { steps: number } | RequestPoint;

const POINTS: readonly KillPoint[] = [
  ...[1, 3, 4, 8, 11, 13, 15, 17].map((steps) => ({ steps })),
  { part: 0, operation: "PutObject", effect: "before" },
  { part: 0, operation: "CreateMultipartUpload", effect: "after" },
  { part: 0, operation: "UploadPart", effect: "before" },
  { part: 0, operation: "UploadPart", effect: "after" },
  { part: 0, operation: "CompleteMultipartUpload", effect: "before" },
  { part: 0, operation: "CompleteMultipartUpload", effect: "after" },
  // Not the copy that the change of the large file waits for.
  { part: 1, operation: "CopyObject", effect: "after", keyPrefix: "volume/done/" },
  { part: 2, operation: "DeleteObject", effect: "after" },
];

beforeAll(() => compileChildPrograms());

function title(point: KillPoint): string {
  return "steps" in point
    ? `after ${point.steps} steps`
    : `at a ${point.operation} ${point.effect} it took effect`;
}

test.for(POINTS.map((point) => ({ point, when: title(point) })))(
  "killed $when",
  { concurrent: true },
  async ({ point }, { expect }) => {
    await using world = await CrashWorld.open();
    const local = path.join(world.scratch, "local");
    await mkdir(local);
    using files = new FileAccess(world.mounted);
    let steps = 0;
    await world.withLogs(async () => {
      for (const [part, commands] of WORKLOAD.entries()) {
        const fault = "part" in point && point.part === part ? world.faultAt(point) : undefined;
        for (const command of commands) {
          expect(await files.carryOut(command), JSON.stringify(command)).toBe("done");
          expect(await files.carryOut(command, local)).toBe("done");
          if ("steps" in point && point.steps === ++steps) await world.crash();
        }
        const flushed = world.hawser(["flush", world.mounted]);
        if (fault) {
          const first = await Promise.race([fault.hit(), flushed]);
          expect(first, "the request was never made").toBeUndefined();
          await world.crash(flushed);
          expect(await world.hawser(["flush", world.mounted])).toMatchObject({ code: 0 });
        } else {
          expect(await flushed).toMatchObject({ code: 0 });
        }
        const wanted = await files.tree(local);
        expect(await files.tree(), `the mount after part ${part}`).toEqual(wanted);
        expect(await world.bucketTree(), `the bucket after part ${part}`).toEqual(wanted);
        expect(await world.openMultiparts()).toEqual([]);
      }
      expect(await world.hawser(["unmount", world.mounted])).toMatchObject({ code: 0 });
    });
  },
);

test("W14 killed in mid-write: what was closed arrives, in the bucket before or not; what never was is in recovered", async () => {
  await using world = await CrashWorld.open();
  using files = new FileAccess(world.mounted);
  const kept: readonly FileCommand[] = ["uploaded", "truncated", "open-elsewhere", "cut"].map(
    (path, seed) => ({
      op: "write",
      path,
      bytes: 1000,
      seed,
    }),
  );
  expect(await files.carryOut(kept[0]!)).toBe("done");
  expect(await world.hawser(["flush", world.mounted])).toMatchObject({ code: 0 });
  // From here on nothing reaches the bucket.
  world.faultAt({ operation: "PutObject", effect: "before" });
  for (const command of kept.slice(1)) expect(await files.carryOut(command)).toBe("done");
  const writer = world.start("python3", [
    "-uc",
    `
import os, signal, sys
os.chdir(sys.argv[1])
# First: what is kept below waits for the journal, and that a file was made is only on its way there.
os.write(os.open("new", os.O_WRONLY | os.O_CREAT), b"never closed")
reader = os.open("open-elsewhere", os.O_RDONLY)
for name in ("uploaded", "truncated", "open-elsewhere"):
    os.write(os.open(name, os.O_WRONLY | os.O_TRUNC), b"torn")
cut = os.open("cut", os.O_RDWR)
os.ftruncate(cut, 0)
os.write(cut, b"torn")
print("written")
signal.pause()`,
    world.mounted,
  ]);
  await world.withLogs(async () => {
    await writer.says(/written/);
    await world.crash();
    writer.kill("SIGKILL");
    const twin = path.join(world.scratch, "twin");
    await mkdir(twin);
    for (const command of kept) await carryOut(twin, command);
    expect(await files.tree()).toEqual(await folderTree(twin));
    expect(await world.hawser(["flush", world.mounted])).toMatchObject({ code: 0 });
    expect(await world.bucketTree()).toEqual(await folderTree(twin));
    const { stdout } = await world.hawser(["recovered", "ls", world.mounted]);
    for (const name of [...kept.map((command) => command.path), "new"]) expect(stdout).toContain(name);
  });
});

test("W15 a writer that is killed while it rewrites what was just closed leaves that as it was", async () => {
  await using world = await CrashWorld.open();
  using files = new FileAccess(world.mounted);
  const command: FileCommand = { op: "write", path: "model.pt", bytes: 3 * MiB, seed: 1 };
  await world.withLogs(async () => {
    world.faultAt({ operation: "PutObject", effect: "before" });
    expect(await files.carryOut(command)).toBe("done");
    const writer = world.start("python3", [
      "-uc",
      `
import signal, sys
file = open(sys.argv[1] + "/model.pt", "wb")
file.write(b"torn")
file.flush()
print("written")
signal.pause()`,
      world.mounted,
    ]);
    await writer.says(/written/);
    writer.kill("SIGKILL");
    const twin = path.join(world.scratch, "twin");
    await mkdir(twin);
    await carryOut(twin, command);
    await eventually("what was closed is shown again", async () => {
      const shown = await files.tree();
      return JSON.stringify(shown) === JSON.stringify(await folderTree(twin));
    });
    world.world.s3.faults.clear();
    expect(await world.hawser(["flush", world.mounted])).toMatchObject({ code: 0 });
    expect(await world.bucketTree()).toEqual(await folderTree(twin));
    const { stdout } = await world.hawser(["recovered", "ls", world.mounted]);
    expect(stdout).toContain("model.pt");
  });
});
