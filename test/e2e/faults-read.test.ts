/** What can go wrong while files are read: a reader waits or gets an error, and never wrong or mixed bytes. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { DeleteObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { testClient } from "../support/dev-s3.ts";
import { World, eventually, isMounted, isRunning } from "./harness.ts";
import type { RunningProgram } from "./harness.ts";

/** libuv has no name for it. */
const ESTALE = 116;
/** More than a reader's first request and what is prefetched behind it. */
const LARGE = 160 * MiB;

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

/** Bytes that differ at every offset and between seeds. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE((Math.imul(i, 2654435761) ^ seed) >>> 0, i);
  return bytes;
}

async function counter(path: string, name: string): Promise<number> {
  const { counters } = (await world.status(path)) as { counters: Record<string, number> };
  return counters[name] ?? 0;
}

/** The reader's thread is inside the kernel, in a request that has no answer. */
function waitsInFuse(pid: number): boolean {
  try {
    return /request_wait|fuse|folio_wait|wait_on_page|io_schedule/.test(
      readFileSync(`/proc/${pid}/wchan`, "utf8"),
    );
  } catch {
    return false;
  }
}

describe("the endpoint goes away", () => {
  test("a read waits until it is back, and succeeds", async () => {
    const body = pattern(2 * MiB, 1);
    await world.put("a.bin", body);
    const path = await world.mount();
    await stat(join(path, "a.bin"));
    await world.s3.pause();
    const reader = world.start("sha256sum", [join(path, "a.bin")]);
    await eventually("the reader waits", () => waitsInFuse(reader.pid));
    await eventually(
      "the endpoint is known to be down",
      async () =>
        /ECONNREFUSED|unreachable/i.test(await world.logs()) ||
        (await counter(path, "store_queued")) > 0 ||
        (await counter(path, "store_retries_total")) > 0,
    );
    await world.s3.resume();
    expect((await reader.ended).code).toBe(0);
    expect(reader.output).toContain(createHash("sha256").update(body).digest("hex"));
  });

  test("a reader that is killed -9 while it waits is gone without an answer", async () => {
    await world.put("a.bin", pattern(MiB, 1));
    const path = await world.mount();
    await stat(join(path, "a.bin"));
    await world.s3.pause();
    const reader = world.start("cat", [join(path, "a.bin")]);
    await eventually("the reader waits", () => waitsInFuse(reader.pid));
    await killed(reader);
    await world.s3.resume();
    expect((await readFile(join(path, "a.bin"))).length).toBe(MiB);
  });

  test("also after a signal that it survived has used up the kernel's one message", async () => {
    await world.put("a.bin", pattern(MiB, 1));
    const path = await world.mount();
    await stat(join(path, "a.bin"));
    await world.s3.pause();
    const script = 'trap : USR1; exec 3<"$0"; read -r line <&3';
    const reader = world.start("bash", ["-c", script, join(path, "a.bin")]);
    await eventually("the reader waits", () => waitsInFuse(reader.pid));
    reader.kill("SIGUSR1");
    await killed(reader);
  });

  async function killed(reader: RunningProgram): Promise<void> {
    reader.kill("SIGKILL");
    // The endpoint is still down: nothing but the signal can end it.
    await reader.ended;
    expect(isRunning(reader.pid)).toBe(false);
  }

  test("unmount is refused while readers wait, and --force ends them", async () => {
    await world.put("a.bin", pattern(MiB, 1));
    const path = await world.mount();
    await stat(join(path, "a.bin"));
    await world.s3.pause();
    const reader = world.start("cat", [join(path, "a.bin")]);
    await eventually("the reader waits", () => waitsInFuse(reader.pid));
    expect(await world.hawser(["unmount", path])).toMatchObject({ code: 3 });
    expect(await world.hawser(["unmount", path, "--force"])).toMatchObject({ code: 0 });
    expect((await reader.ended).code).toBe(1);
    expect(isMounted(path)).toBe(false);
  });

  test("SIGTERM ends the mount all the same", async () => {
    await world.put("a.bin", pattern(MiB, 1));
    const path = await world.mount(["--unmount-timeout", "200ms"]);
    const pid = Number((await world.status(path))["pid"]);
    await stat(join(path, "a.bin"));
    await world.s3.pause();
    const reader = world.start("cat", [join(path, "a.bin")]);
    await eventually("the reader waits", () => waitsInFuse(reader.pid));
    process.kill(pid, "SIGTERM");
    await eventually("the process ends", () => !isRunning(pid));
    expect((await reader.ended).code).toBe(1);
  });
});

describe("the connection", () => {
  test("is cut in mid-body, several times: the bytes are whole", async () => {
    const body = pattern(3 * MiB, 2);
    await world.put("a.bin", body);
    const path = await world.mount();
    const fault = world.s3.faults.add({
      operation: "GetObject",
      key: "a.bin",
      cutAfterBytes: 70_001,
      count: 3,
    });
    expect((await readFile(join(path, "a.bin"))).equals(body)).toBe(true);
    expect(fault.hits).toBeGreaterThan(0);
  });

  test.each(["InternalError", "SlowDown"])("answers %s for a while: the read succeeds", async (error) => {
    await world.put("a.bin", "content");
    const path = await world.mount();
    world.s3.faults.add({ operation: "GetObject", error, count: 3 });
    expect(await readFile(join(path, "a.bin"), "utf8")).toBe("content");
  });
});

describe("wrong bytes", () => {
  test("[R18] in a whole object are never given to a reader: EIO", async () => {
    await world.put("a.bin", pattern(100_000, 3));
    const path = await world.mount();
    const fault = world.s3.faults.add({ operation: "GetObject", key: "a.bin", flipByteAt: 50_000 });
    await expect(readFile(join(path, "a.bin"))).rejects.toMatchObject({ code: "EIO" });
    expect(fault.hits).toBeGreaterThan(0);
    await eventually("the log says why", async () => (await world.logs()).includes("checksum"));
  });

  test("that come once are fetched again", async () => {
    const body = pattern(100_000, 3);
    await world.put("a.bin", body);
    const path = await world.mount();
    const fault = world.s3.faults.add({ operation: "GetObject", key: "a.bin", flipByteAt: 50_000, count: 1 });
    expect((await readFile(join(path, "a.bin"))).equals(body)).toBe(true);
    expect(fault.hits).toBe(1);
  });
});

describe("the object", () => {
  /** Opens a large file, reads its beginning, lets `change` happen, and reads its end. */
  async function readAcross(
    change: () => Promise<unknown>,
  ): Promise<{ path: string; outcome: Buffer | NodeJS.ErrnoException }> {
    await world.s3.putSynthetic(world.bucket, "a.bin", LARGE, 1);
    const path = await world.mount(["--metadata-ttl", "1h"]);
    const file = await open(join(path, "a.bin"));
    try {
      const { buffer } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
      expect(buffer.length).toBe(4096);
      await change();
      const end = await file.read(Buffer.alloc(MiB), 0, MiB, LARGE - MiB);
      return { path, outcome: end.buffer };
    } catch (error) {
      return { path, outcome: error as NodeJS.ErrnoException };
    } finally {
      await file.close();
    }
  }

  test("is deleted during a read: ESTALE", async () => {
    const client = testClient(world.s3);
    const { path, outcome } = await readAcross(() =>
      client.send(new DeleteObjectCommand({ Bucket: world.bucket, Key: "a.bin" })),
    );
    expect(outcome).toMatchObject({ errno: -ESTALE });
    await expect(readFile(join(path, "a.bin"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("is replaced during a read: ESTALE, and the next open has the new one, whole", async () => {
    const replacement = pattern(MiB, 9);
    const client = testClient(world.s3);
    const { path, outcome } = await readAcross(() =>
      client.send(new PutObjectCommand({ Bucket: world.bucket, Key: "a.bin", Body: replacement })),
    );
    expect(outcome).toMatchObject({ errno: -ESTALE });
    expect((await readFile(join(path, "a.bin"))).equals(replacement)).toBe(true);
  });

  test("is archived: EIO at once, and the log has the command that restores it", async () => {
    const client = testClient(world.s3);
    await client.send(
      new PutObjectCommand({ Bucket: world.bucket, Key: "cold.bin", Body: "x", StorageClass: "GLACIER" }),
    );
    const path = await world.mount();
    await expect(readFile(join(path, "cold.bin"))).rejects.toMatchObject({ code: "EIO" });
    expect(await counter(path, "store_retries_total")).toBe(0);
    await eventually("the log has it", async () => /restore/.test(await world.logs()));
  });
});
