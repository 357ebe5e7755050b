import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RecordLog, replayLog } from "../../../src/common/record-log.ts";
import type { Replay } from "../../../src/common/record-log.ts";

const FORMAT = { kind: "TEST", version: 1 };
let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hawser-log-"));
  path = join(folder, "log");
});
afterEach(() => rm(folder, { recursive: true }));

async function openLog(format = FORMAT, onOther?: "restart" | "refuse") {
  const records: string[] = [];
  const opened = await RecordLog.open({ path, ...format, onOther }, (record) =>
    records.push(record.toString()),
  );
  return { ...opened, records };
}

async function contents(): Promise<{ records: string[]; replay: Replay }> {
  const records: string[] = [];
  const replay = await replayLog(path, FORMAT, (record) => records.push(record.toString()));
  return { records, replay };
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `record ${i} ${"x".repeat(i % 50)}`);
}

async function write(records: string[]): Promise<void> {
  const { log } = await openLog();
  for (const record of records) log.append(Buffer.from(record));
  await log.close();
}

test("what was appended and flushed is replayed in order", async () => {
  await write(numbered(1000));
  const { log, records, replay } = await openLog();
  expect(records).toEqual(numbered(1000));
  expect(replay).toMatchObject({ found: "log", records: 1000, lostBytes: 0 });
  log.append(Buffer.from("more"));
  await log.flush();
  expect((await contents()).records).toHaveLength(1001);
  await log.close();
  await log.close();
});

test("records longer than a read of the file survive", async () => {
  const long = "y".repeat(9 * 1024 * 1024);
  await write(["first", long, "last"]);
  expect((await contents()).records).toEqual(["first", long, "last"]);
});

test("cut off at any byte, the whole records before the cut are kept and appending goes on", async () => {
  await write(numbered(20));
  const whole = await readFile(path);
  for (let cut = 0; cut < whole.length; cut += 7) {
    await writeFile(path, whole.subarray(0, cut));
    const { log, records } = await openLog();
    expect(records).toEqual(numbered(20).slice(0, records.length));
    log.append(Buffer.from("after"));
    await log.close();
    expect((await contents()).records).toEqual([...records, "after"]);
  }
});

test("a damaged byte costs the records from there on, never a wrong record", async () => {
  await write(numbered(20));
  const whole = await readFile(path);
  for (let at = 24; at < whole.length; at += 5) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 0x40;
    await writeFile(path, damaged);
    const { records } = await contents();
    expect(records).toEqual(numbered(20).slice(0, records.length));
    expect(records.length).toBeLessThan(20);
  }
});

test("a tail of zeros, as a power loss leaves it, is cut off", async () => {
  await write(numbered(5));
  const { size } = await stat(path);
  await truncate(path, size + 5000);
  const { log, records, replay } = await openLog();
  expect(records).toHaveLength(5);
  expect(replay.lostBytes).toBe(5000);
  await log.close();
  expect((await stat(path)).size).toBe(size);
});

test("a file of garbage is an empty log, and a damaged header does not cost the records", async () => {
  await writeFile(path, Buffer.alloc(100_000, 0xa5));
  const { log, records } = await openLog();
  expect(records).toEqual([]);
  log.append(Buffer.from("kept"));
  await log.close();
  const bytes = await readFile(path);
  bytes[3] = 0;
  await writeFile(path, bytes);
  expect((await contents()).records).toEqual(["kept"]);
});

test("a log of another version is refused, or started anew where that is allowed", async () => {
  await write(["old"]);
  await expect(openLog({ kind: "TEST", version: 2 })).rejects.toMatchObject({ code: "not_supported" });
  expect((await contents()).records).toEqual(["old"]);
  const { log, replay } = await openLog({ kind: "TEST", version: 2 }, "restart");
  expect(replay.found).toBe("other");
  await log.close();
  expect((await contents()).replay.found).toBe("other");
});

test("compaction keeps what is appended while it runs", async () => {
  await write(numbered(100));
  const { log } = await openLog();
  const appended: string[] = [];
  async function* live(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 50; i++) {
      yield Buffer.from(`live ${i}`);
      appended.push(`late ${i}`);
      log.append(Buffer.from(`late ${i}`));
      if (i % 10 === 0) await log.flush();
    }
  }
  const compacting = log.compact(live());
  await expect(log.compact([])).rejects.toMatchObject({ code: "internal" });
  await compacting;
  log.append(Buffer.from("last"));
  await log.sync();
  const live50 = Array.from({ length: 50 }, (_, i) => `live ${i}`);
  expect((await contents()).records).toEqual([...live50, ...appended, "last"]);
  const { size } = await stat(path);
  expect(log.sizeBytes).toBe(size);
  await log.close();
});

test("a compaction that fails leaves the log as it was", async () => {
  await write(numbered(10));
  const { log } = await openLog();
  function* failing(): Generator<Uint8Array> {
    yield Buffer.from("x");
    throw new Error("no");
  }
  await expect(log.compact(failing())).rejects.toThrow("no");
  log.append(Buffer.from("after"));
  await log.close();
  expect((await contents()).records).toEqual([...numbered(10), "after"]);
});

test("a million small records replay in seconds of CPU", async () => {
  const { log } = await openLog();
  const record = Buffer.alloc(100, 1);
  for (let i = 0; i < 1_000_000; i++) {
    log.append(record);
    if (i % 100_000 === 0) await log.flush();
  }
  await log.close();
  const before = process.cpuUsage();
  const { replay } = await contents();
  expect(replay.records).toBe(1_000_000);
  // Of this process alone: a machine that is busy with others takes longer, not more.
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1e6).toBeLessThan(10);
});
