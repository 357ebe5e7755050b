/**
 * A process that writes is killed at each of many points between two effects, and the next one takes up what it left.
 *
 * Whatever was acknowledged must be in the bucket, whole, once; the operation that was under way may have happened or
 * not; no multipart is left open. There are several volumes side by side. In each, names and state go on over all
 * rounds, so that what one round leaves is the next one's past.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createObjectStore } from "../../src/store/s3-store.ts";
import type { FaultPoint } from "../../src/writeback/fault-point.ts";
import type { ObjectStore } from "../../src/store/object-store.ts";
import { childProgram, compileChildPrograms } from "../support/child-programs.ts";
import { startTestS3, testEnvironment } from "../support/dev-s3.ts";
import type { TestS3 } from "../support/dev-s3.ts";
import type { ChildOrders } from "../support/writeback-child.ts";
import { after } from "../support/writeback-script.ts";
import type { Names } from "../support/writeback-script.ts";

const POINTS = Number(process.env["HAWSER_CRASH_POINTS"] ?? 200);
const VOLUMES = ["volume-0", "volume-1", "volume-2", "volume-3"];
/** Of every so many kills one is while the process takes up what was left. */
const FROM_START_EVERY = 5;
/** Every kind of effect is interrupted, each at least once. */
const KINDS: readonly FaultPoint[] = [
  "journal.append",
  "journal.flushed",
  "staging.written",
  "seal",
  "put.before",
  "part.sent",
  "published",
];
/** A process that takes up little has few points before its round. */
const START_POINTS = 12;

let server: TestS3;

beforeAll(async () => {
  compileChildPrograms();
  server = await startTestS3({ buckets: VOLUMES });
});

afterAll(() => server.close());

interface Round {
  /** What the bucket may hold now: before or after the operation that was under way. */
  possible: Names[];
  /** The fault point at which it ended; undefined when it came to its end. */
  killedAt: string | undefined;
  /** Points of the whole round, when it came to its end. */
  points: number;
}

/** Where a process is to end; nowhere when empty. */
type Kill = Partial<Pick<ChildOrders, "killAt" | "killAtFirst" | "fromStart">>;

/** One bucket, the folder of its staged files, and the processes that follow each other there. */
class Volume implements AsyncDisposable {
  readonly #bucket: string;
  readonly #folder: string;
  readonly #store: ObjectStore;
  #rounds = 0;
  #possible: Names[] = [new Map()];

  private constructor(bucket: string, folder: string, store: ObjectStore) {
    this.#bucket = bucket;
    this.#folder = folder;
    this.#store = store;
  }

  static async open(bucket: string): Promise<Volume> {
    const folder = await mkdtemp(join(tmpdir(), "hawser-crash-"));
    return new Volume(bucket, folder, await createObjectStore({ bucket, env: testEnvironment(server.s3) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close();
    await rm(this.#folder, { recursive: true });
  }

  /** One process: takes up what is there, is judged, does a round, and ends at the point it was told. */
  async run({ killAt = 0, killAtFirst, fromStart = false }: Kill = {}): Promise<Round> {
    const orders: ChildOrders = {
      bucket: this.#bucket,
      folder: this.#folder,
      round: this.#rounds++,
      killAt,
      killAtFirst,
      fromStart,
    };
    const child = spawn(
      process.execPath,
      [childProgram("test/support/writeback-child.ts"), JSON.stringify(orders)],
      { env: { ...process.env, ...testEnvironment(server.s3) }, stdio: ["pipe", "pipe", "inherit"] },
    );
    const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
    // A point may come behind "flushed", when what was said last is judged: then nobody is there to be told to go on.
    let unheard: Error | undefined;
    child.stdin.once("error", (error) => (unheard = error));
    const round: Round = { possible: this.#possible, killedAt: undefined, points: 0 };
    let names: Names | undefined;
    for await (const line of createInterface(child.stdout)) {
      const [word, rest = ""] = line.split(" ");
      if (word === "killed") round.killedAt = rest;
      else if (word === "conflict" || word === "failed" || word === "hangs") throw new Error(line);
      else if (word === "points") round.points = Number(rest);
      else if (word === "flushed") {
        names = await this.#bucketIsOneOf(this.#possible);
        round.possible = [names];
        child.stdin.write("go\n");
      } else {
        const next: Names =
          word === "begin" ? after(names!, orders.round, Number(rest)) : round.possible.at(-1)!;
        round.possible = word === "begin" ? [names!, next] : [next];
        names = word === "begin" ? names : next;
      }
    }
    const code = await exited;
    if (round.killedAt === undefined && unheard !== undefined) throw unheard;
    if (round.killedAt === undefined && code !== 0) throw new Error(`the child ended with ${code}`);
    this.#possible = round.possible;
    return round;
  }

  /** Reads the whole bucket, and finds what of the possible it is. */
  async #bucketIsOneOf(possible: readonly Names[]): Promise<Names> {
    const found = new Map<string, Buffer>();
    for (const { key, sizeBytes } of (await this.#store.list({ prefix: "" })).objects) {
      const bytes = Buffer.alloc(sizeBytes);
      if (sizeBytes > 0) await this.#store.get({ key }, bytes);
      found.set(key, bytes);
    }
    const same = possible.find((names) => isSame(names, found));
    if (same) return same;
    const told = [...found].map(([key, bytes]) => `${key} ${digest(bytes)}`);
    throw new Error(`the bucket holds ${told.join(", ")} instead of ${possible.map(listed).join(" or ")}`);
  }

  async openMultiparts(): Promise<string[]> {
    return (await this.#store.listMultiparts("")).map(({ key }) => key);
  }
}

function listed(names: Names): string {
  return [...names].map(([key, bytes]) => `${key} ${digest(bytes)}`).join(", ");
}

function digest(bytes: Buffer): string {
  return `${bytes.length}:${bytes.subarray(4, 12).toString("hex")}`;
}

function isSame(one: Names, other: Names): boolean {
  if (one.size !== other.size) return false;
  for (const [key, bytes] of one) if (!other.get(key)?.equals(bytes)) return false;
  return true;
}

/** Kills the processes of one volume at so many points, these kinds among them. @returns where they were */
async function killAtPoints(
  bucket: string,
  points: number,
  offset: number,
  kinds: readonly FaultPoint[],
): Promise<string[]> {
  await using volume = await Volume.open(bucket);
  const whole = await volume.run();
  expect(whole.points).toBeGreaterThan(100);
  const killed: string[] = [];
  for (const killAtFirst of kinds) {
    const { killedAt } = await volume.run({ killAtFirst });
    expect(killedAt).toBe(killAtFirst);
    killed.push(killAtFirst);
  }
  for (let at = 0; killed.length < points; at++) {
    // Another way through the round may have fewer points than the first.
    if (at > 2 * points + 20) throw new Error(`only ${killed.length} of ${at} processes were killed`);
    const fromStart = at % FROM_START_EVERY === FROM_START_EVERY - 1;
    const range = fromStart ? START_POINTS : whole.points;
    const { killedAt } = await volume.run({ killAt: 1 + ((offset + at * 7) % range), fromStart });
    if (killedAt !== undefined) killed.push(killedAt);
  }
  await volume.run();
  expect(await volume.openMultiparts()).toEqual([]);
  return killed;
}

test(`a process killed at ${POINTS} points loses nothing closed, leaves nothing twice or half, and no multipart open`, async () => {
  const share = Math.ceil(POINTS / VOLUMES.length);
  const killed = await Promise.all(
    VOLUMES.map((bucket, at) =>
      killAtPoints(
        bucket,
        share,
        at * 37,
        KINDS.filter((_kind, index) => index % VOLUMES.length === at),
      ),
    ),
  );
  expect(killed.flat().length).toBeGreaterThanOrEqual(POINTS);
});
