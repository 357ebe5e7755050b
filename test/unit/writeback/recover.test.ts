/** A file that goes to `recovered/`: who is told of it, and what. */
import { cpSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { OnFaultPoint } from "../../../src/writeback/fault-point.ts";
import { listRecovered } from "../../../src/writeback/recovered.ts";
import type { LeftUnderName, RestoredFile, StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness } from "./harness.ts";

interface Conflict {
  file: StagedFile;
  name: string;
  left: LeftUnderName;
}

let h: Harness;
let conflicts: Conflict[];
beforeEach(async () => {
  h = await Harness.start();
  conflicts = [];
  h.wb.onEvents({
    published: () => undefined,
    copied: () => undefined,
    conflict: (file, name, left) => void conflicts.push({ file, name, left }),
    failed: () => undefined,
    settled: () => undefined,
  });
});
afterEach(async () => {
  await h.end();
});

/** Closed here, and put there by somebody else meanwhile. */
async function lost(): Promise<StagedFile> {
  const file = await h.write("dir/a", "ours");
  h.store.seed("dir/a", "theirs");
  return file;
}

async function recovered(folder = h.folder): Promise<[name: string, reason: string, text: string][]> {
  const found: [string, string, string][] = [];
  for (const { name, reason, path } of await listRecovered(join(folder, "recovered")))
    found.push([name, reason, await readFile(path, "utf8")]);
  return found;
}

describe("W18 a conflict", () => {
  test("is told to the filesystem once the file is in recovered, with its name there; nothing of it is pending", async () => {
    const file = await lost();
    await h.until(() => conflicts.length > 0);
    const [told, ...others] = conflicts;
    expect(others).toEqual([]);
    expect(told!.file).toBe(file);
    expect(told!.left).toBe("object");
    expect(await recovered()).toEqual([[told!.name, "conflict", "ours"]]);
    expect(h.wb.find("dir/a")).toBeUndefined();
    expect(h.wb.status()).toMatchObject({ files: [], pendingBytes: 0, recovered: 1 });
    expect(h.text("dir/a")).toBe("theirs");
  });

  test("is told to who waits for the file, and then to no fsync of a folder above it", async () => {
    const file = await lost();
    const told = await file.fsync().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(told).toBeInstanceOf(HawserError);
    const [[name]] = (await recovered()) as [[string, string, string]];
    expect(told).toMatchObject({
      code: "object_changed",
      message: expect.stringContaining(`recovered/${name}`),
    });
    await h.wb.tellConflicts("dir/", "once");
    await expect(h.wb.tellConflicts("dir/", "standing")).rejects.toMatchObject({ code: "object_changed" });
  });

  test("is told to the next fsync of a folder above it when nobody waited", async () => {
    await lost();
    await h.until(() => conflicts.length > 0);
    const { name } = conflicts[0]!;
    await expect(h.wb.tellConflicts("dir/", "once")).rejects.toThrow(`dir/a is in recovered/${name}`);
    await h.wb.tellConflicts("dir/", "once");
  });

  test("loses nothing when the last who has the file open lets go of it while it is moved", async () => {
    const held: StagedFile[] = [];
    await h.crashAndOpen({ faultPoint: unholdMeanwhile(held) });
    const file = await h.write("dir/a", "ours");
    file.hold();
    held.push(file);
    h.store.seed("dir/a", "theirs");
    await h.until(() => h.told.conflicts.length > 0);
    expect(await recovered()).toEqual([[h.told.conflicts[0]![1], "conflict", "ours"]]);
    expect(held).toEqual([]);
  });

  test("that the process did not live to tell is in recovered once, and told by the next one's barrier", async () => {
    // As it is on the disk when the process ends there.
    const left = join(h.folder, "left");
    await h.crashAndOpen({
      faultPoint: (point) => {
        if (point !== "recover.moved") return;
        for (const part of ["journal", "files", "recovered"])
          cpSync(join(h.folder, part), join(left, part), { recursive: true });
      },
    });
    await lost();
    await h.until(() => h.wb.status().recovered > 0);
    await h.crashAndOpen({ stagingDir: left });
    await h.wb.flush();
    expect(await recovered(left)).toEqual([[expect.any(String), "conflict", "ours"]]);
    expect(h.wb.status()).toMatchObject({ files: [], recovered: 1 });
    await expect(h.wb.tellConflicts("", "standing")).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("dir/a")).toBe("theirs");
  });
});

/** Lets go of a file that is held as soon as its move to `recovered/` has begun. */
function unholdMeanwhile(held: StagedFile[]): OnFaultPoint {
  return (point) => {
    if (point !== "journal.append") return;
    queueMicrotask(() => {
      if (held.length > 0 && h.wb.find("dir/a") === undefined) held.pop()!.unhold();
    });
  };
}

describe("W15 a torn rewrite", () => {
  /** Closed as "old", and rewritten as far as "ne" by a program that is killed. */
  async function torn(): Promise<StagedFile> {
    h.store.faults.fail({ times: Infinity, error: new HawserError("endpoint_unreachable", "down") });
    const file = await h.write("dir/a", "old");
    await file.openForWrite({ empty: true });
    await file.write(0, Buffer.from("ne"));
    await file.tear();
    return file;
  }

  test("is told with the file that has the name again, and what that is made from", async () => {
    const file = await torn();
    file.releaseWrite();
    await h.until(() => conflicts.length > 0);
    const { left, name, file: gone } = conflicts[0]!;
    const kept = left as RestoredFile;
    expect(gone).toBe(file);
    expect(kept.file).toBe(h.wb.find("dir/a"));
    expect(kept).toMatchObject({ base: { kind: "absent" }, meta: { metadata: { mode: "33188" } } });
    expect(Buffer.from(await kept.file.read(0, 100)).toString()).toBe("old");
    expect(await recovered()).toEqual([[name, "torn", "ne"]]);
    h.store.faults.heal();
    await h.wb.flush();
    expect(h.text("dir/a")).toBe("old");
  });

  test("is no conflict: neither a barrier nor an fsync tells of it", async () => {
    const file = await torn();
    file.releaseWrite();
    await h.until(() => conflicts.length > 0);
    await h.wb.tellConflicts("", "standing");
    await h.wb.tellConflicts("", "once");
  });
});
