/**
 * Carries out the crash tests' workload on a write-back of its own, and kills itself at a fault point.
 *
 * It plays the filesystem's part in the smallest way: what is staged is worked on, what is not is in the bucket and is
 * asked for by HEAD. Lines on stdout say how far it is; `go` on stdin lets it begin the round.
 */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { pino } from "pino";
import type { ObjectVersion } from "../../src/cache/content.ts";
import { HawserError } from "../../src/common/errors.ts";
import type { Clock } from "../../src/common/clock.ts";
import { systemClock } from "../../src/common/clock.ts";
import { createObjectStore } from "../../src/store/s3-store.ts";
import { openWriteBack } from "../../src/writeback/open-write-back.ts";
import type { FaultPoint } from "../../src/writeback/fault-point.ts";
import type { StagedFile, WriteBack } from "../../src/writeback/write-back.ts";
import { PART_BYTES, ROUND, contentOf } from "./writeback-script.ts";
import type { Operation } from "./writeback-script.ts";

export interface ChildOrders {
  folder: string;
  bucket: string;
  round: number;
  /** Ends at this fault point; 0 for none. */
  killAt: number;
  /** Ends where this point is reached first. */
  killAtFirst?: FaultPoint | undefined;
  /** Points are counted from the start, not from the round's beginning. */
  fromStart: boolean;
}

const orders = JSON.parse(process.argv[2]!) as ChildOrders;
let counting = orders.fromStart;
let points = 0;

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/** Write-back waits ten times less for what may come late: the store here is on this machine. */
const HURRY = 10;
const hurried: Clock = {
  now: () => systemClock.now(),
  monotonic: () => HURRY * systemClock.monotonic(),
  after: (ms, fn) => systemClock.after(ms / HURRY, fn),
};
const store = await createObjectStore({ bucket: orders.bucket });
const writeBack: WriteBack = await openWriteBack({
  store,
  stagingDir: orders.folder,
  clock: hurried,
  logger: pino({ level: "warn" }, pino.destination(2)),
  readBase: async ({ key, etag }, offset, target) =>
    (await store.get({ key, offset, length: target.length, ifMatch: etag }, target)).bytesRead,
  options: { keepFree: 0, partBytes: PART_BYTES },
  faultPoint(point) {
    if (!counting) return;
    points++;
    if (points !== orders.killAt && point !== orders.killAtFirst) return;
    say(`killed ${point}`);
    process.kill(process.pid, "SIGKILL");
  },
});
/** What moves and removes that are not done yet will have made of a name. */
const told = new Map<string, ObjectVersion | undefined>();
/** Publications so far. */
let published = 0;

// The clock's timers keep no process alive; and one that hangs says what it waits for.
setTimeout(() => {
  say(`hangs ${JSON.stringify(writeBack.status())}`);
  process.exit(14);
}, 300_000);
writeBack.onEvents({
  published: (_file, { key }) => {
    published++;
    told.delete(key);
  },
  copied: () => undefined,
  conflict: (file, name) => say(`conflict ${file.key} ${name}`),
  failed: (file, error) => say(`failed ${file.key} ${error.code}`),
  settled: (keys) => {
    for (const key of keys) told.delete(key);
  },
});
await writeBack.flush();
say("flushed");
await new Promise<void>((resolve) => createInterface(process.stdin).once("line", () => resolve()));
counting = true;
for (const [at, operation] of ROUND.entries()) {
  say(`begin ${at}`);
  await carryOut(operation, at);
  say(`done ${at}`);
}
say(`points ${points}`);
// It waits for a minute at most, which is seconds here: a busy machine needs more.
do await writeBack.tidy();
while ((await store.listMultiparts("")).length > 0);
await writeBack.close();
process.exit(0);

async function present(key: string): Promise<ObjectVersion | undefined> {
  if (told.has(key)) return told.get(key);
  try {
    const { etag, sizeBytes, mtimeMs } = await store.head(key);
    return { key, etag, sizeBytes, mtimeMs };
  } catch (error) {
    if (HawserError.is(error, "not_found")) return undefined;
    throw error;
  }
}

/** What is under the keys now: a publication meanwhile is not missed, as it would not be by the filesystem. */
async function presentAt(...keys: string[]): Promise<(ObjectVersion | undefined)[]> {
  for (;;) {
    const before = published;
    const found: (ObjectVersion | undefined)[] = [];
    for (const key of keys) found.push(await present(key));
    if (published === before) return found;
  }
}

async function openForWrite(key: string, empty: boolean): Promise<StagedFile> {
  const staged = writeBack.find(key);
  if (staged) {
    // By turns as if the kernel had a descriptor of the local file, and as if it had none.
    await staged.openForWrite({ empty, isAlone: () => orders.round % 2 === 0 });
    return staged;
  }
  const version = await present(key);
  const file = await writeBack.stage(key, {
    base: version ? { kind: "version", etag: version.etag } : { kind: "absent" },
    overlayOf: version && !empty ? version : undefined,
    meta: { metadata: { mode: "33188" } },
  });
  await file.openForWrite();
  return file;
}

async function writeAndClose(
  key: string,
  at: number,
  offset: number | "end",
  sizeBytes: number,
  empty: boolean,
  sync = false,
): Promise<void> {
  const file = await openForWrite(key, empty);
  const start = offset === "end" ? file.stamp().size : offset;
  const bytes = contentOf(orders.round, at, sizeBytes);
  const half = sizeBytes >>> 1;
  await file.write(start, bytes.subarray(0, half));
  await file.write(start + half, bytes.subarray(half));
  if (sync) await file.fsync();
  await file.flush();
  file.releaseWrite();
}

async function carryOut(operation: Operation, at: number): Promise<void> {
  switch (operation.do) {
    case "write":
      return await writeAndClose(operation.key, at, 0, operation.sizeBytes, true);
    case "fsync":
      return await writeAndClose(operation.key, at, 0, operation.sizeBytes, true, true);
    case "patch":
      return await writeAndClose(operation.key, at, operation.offset, operation.sizeBytes, false);
    case "append":
      return await writeAndClose(operation.key, at, "end", operation.sizeBytes, false);
    case "rename":
      return await rename(operation.from, operation.to);
    case "unlink":
      return await unlink(operation.key);
    case "chmod": {
      const meta = { metadata: { mode: "33261" } };
      const staged = writeBack.find(operation.key);
      if (staged) return await staged.setMeta(meta);
      const version = await present(operation.key);
      return await writeBack.replaceMeta(version!, meta);
    }
    case "mark":
      return await writeBack.mark(operation.key, { metadata: {} });
    case "flush":
      await writeBack.flush();
      told.clear();
  }
}

/** As the filesystem does it: what is under the new name is replaced, what is under the old one is removed. */
async function rename(from: string, to: string): Promise<void> {
  const staged = writeBack.find(from);
  staged?.hold();
  const [source, target] = await presentAt(from, to);
  const victim = writeBack.find(to);
  // In one turn: all of it holds after a crash, or none.
  const changes: Promise<void>[] = [];
  if (victim) changes.push(writeBack.drop(victim));
  if (staged) {
    changes.push(
      writeBack.rekey([
        {
          file: staged,
          key: to,
          base: target ? { kind: "version", etag: target.etag } : { kind: "absent" },
        },
      ]),
    );
    if (source) changes.push(writeBack.remove({ key: from }));
  } else {
    changes.push(writeBack.move(source!, to));
    told.set(to, { ...source!, key: to });
  }
  told.set(from, undefined);
  await Promise.all(changes);
  staged?.unhold();
}

async function unlink(key: string): Promise<void> {
  const [version] = await presentAt(key);
  const staged = writeBack.find(key);
  const changes: Promise<void>[] = [];
  if (staged) changes.push(writeBack.drop(staged));
  if (version) changes.push(writeBack.remove({ key }));
  told.set(key, undefined);
  await Promise.all(changes);
}
