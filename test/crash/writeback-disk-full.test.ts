/** A staging disk that is really full: what was closed reaches the bucket, and then there is room again. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import { HawserError } from "../../src/common/errors.ts";
import { MiB } from "../../src/common/units.ts";
import { createFaultyStore } from "../../src/store/faulty-store.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { openWriteBack } from "../../src/writeback/open-write-back.ts";
import type { StagedFile, WriteBack } from "../../src/writeback/write-back.ts";

const store = createFaultyStore(new MemoryStore());
let disk: string;
let writeBack: WriteBack;
/** How far the clock is ahead: a writer's patience with a full disk is half a minute. */
let aheadMs: number;

async function write(key: string, bytes: Uint8Array): Promise<StagedFile> {
  const file = await writeBack.stage(key, { base: { kind: "absent" }, meta: {} });
  await file.openForWrite();
  try {
    await file.write(0, bytes);
    await file.flush();
  } finally {
    file.releaseWrite();
  }
  return file;
}

// Mounting a file system of a few megabytes takes root.
describe.runIf(process.getuid?.() === 0)("a full disk", () => {
  beforeEach(async () => {
    disk = mkdtempSync(join(tmpdir(), "hawser-full-"));
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=8M", "tmpfs", disk]);
    if (mounted.status !== 0) throw new Error(mounted.stderr.toString());
    aheadMs = 0;
    writeBack = await openWriteBack({
      store,
      stagingDir: disk,
      readBase: async () => 0,
      clock: { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs },
      logger: pino({ level: "silent" }),
      options: { keepFree: 0 },
    });
  });

  afterEach(async () => {
    await writeBack.close();
    spawnSync("umount", [disk]);
    rmSync(disk, { recursive: true });
  });

  test("a write that does not fit fails with no_space; what was closed before it is published, and room comes back", async () => {
    const down = store.faults.fail({
      method: "put",
      times: Infinity,
      error: new HawserError("endpoint_unreachable", "down"),
    });
    const content = Buffer.alloc(3 * MiB, 7);
    await write("one", content);
    await write("two", content);
    // Its patience passes while it waits; everybody else's does not.
    const passing = setInterval(() => (aheadMs += 10_000), 50);
    try {
      await expect(write("three", content)).rejects.toMatchObject({ code: "no_space" });
    } finally {
      clearInterval(passing);
    }
    await writeBack.drop(writeBack.find("three")!);
    // Other programs take the very last byte: the journal lives on its reserve.
    const filler = join(disk, "filler");
    expect(() => writeFileSync(filler, Buffer.alloc(8 * MiB))).toThrow("ENOSPC");
    down();
    await writeBack.flush();
    expect(content.equals(store.peek("one")!)).toBe(true);
    expect(content.equals(store.peek("two")!)).toBe(true);
    await unlink(filler);
    await write("four", content);
    await writeBack.flush();
    expect([...store.keys()]).toEqual(["four", "one", "two"]);
  });
});
