/**
 * A process that writes is killed at each of many points between two effects, and the next one takes up what it left.
 *
 * Whatever was acknowledged must be in the bucket, whole, once; the operation that was under way may have happened or
 * not; no multipart is left open. Names and state go on over all rounds, so that what one round leaves is the next one's
 * past.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createObjectStore } from "../../src/store/s3-store.ts";
import type { ObjectStore } from "../../src/store/object-store.ts";
import { childProgram, compileChildPrograms } from "../support/child-programs.ts";
import { TEST_BUCKET, startTestS3, testEnvironment } from "../support/dev-s3.ts";
import type { TestS3 } from "../support/dev-s3.ts";
import type { ChildOrders } from "../support/writeback-child.ts";
import { after } from "../support/writeback-script.ts";
import type { Names } from "../support/writeback-script.ts";

const POINTS = Number(process.env["HAWSER_CRASH_POINTS"] ?? 200);

let server: TestS3;
let store: ObjectStore;
let folder: string;

beforeAll(async () => {
  compileChildPrograms();
  server = await startTestS3();
  store = await createObjectStore({ bucket: TEST_BUCKET, env: testEnvironment(server.s3) });
  folder = await mkdtemp(join(tmpdir(), "hawser-crash-"));
});

afterAll(async () => {
  await store.close();
  await server.close();
  await rm(folder, { recursive: true });
});

interface Round {
  /** What the bucket may hold now: before or after the operation that was under way. */
  possible: Names[];
  /** The fault point at which it ended; undefined when it came to its end. */
  killedAt: string | undefined;
  points: number;
}

/** One process: takes up what is there, is judged, does a round, and ends at the point it was told. */
async function runChild(orders: Omit<ChildOrders, "folder" | "bucket">, before: Names[]): Promise<Round> {
  const child = spawn(
    process.execPath,
    [
      childProgram("test/support/writeback-child.ts"),
      JSON.stringify({ ...orders, folder, bucket: TEST_BUCKET }),
    ],
    { env: { ...process.env, ...testEnvironment(server.s3) }, stdio: ["pipe", "pipe", "inherit"] },
  );
  const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  const round: Round = { possible: before, killedAt: undefined, points: 0 };
  let names: Names | undefined;
  for await (const line of createInterface(child.stdout)) {
    const [word, rest = ""] = line.split(" ");
    if (word === "killed") round.killedAt = rest;
    else if (word === "conflict" || word === "failed" || word === "hangs") throw new Error(line);
    else if (word === "points") round.points = Number(rest);
    else if (word === "flushed") {
      names = await bucketIsOneOf(before);
      round.possible = [names];
      child.stdin.write("go\n");
    } else {
      const next = after(names!, orders.round, Number(rest));
      if (word === "begin") round.possible = [names!, next];
      else {
        names = next;
        round.possible = [names];
      }
    }
  }
  const code = await exited;
  if (round.killedAt === undefined && code !== 0) throw new Error(`the child ended with ${code}`);
  return round;
}

/** Reads the whole bucket, and finds what of the possible it is. */
async function bucketIsOneOf(possible: readonly Names[]): Promise<Names> {
  const found = new Map<string, Buffer>();
  for (const { key, sizeBytes } of (await store.list({ prefix: "" })).objects) {
    const bytes = Buffer.alloc(sizeBytes);
    if (sizeBytes > 0) await store.get({ key }, bytes);
    found.set(key, bytes);
  }
  const same = possible.find((names) => isSame(names, found));
  if (same) return same;
  const describeNames = (names: Names): string[] =>
    [...names].map(([key, bytes]) => `${key} ${digest(bytes)}`);
  expect(describeNames(found)).toEqual(describeNames(possible.at(-1)!));
  throw new Error("the bucket holds something else");
}

function digest(bytes: Buffer): string {
  return `${bytes.length}:${bytes.subarray(4, 12).toString("hex")}`;
}

function isSame(one: Names, other: Names): boolean {
  if (one.size !== other.size) return false;
  for (const [key, bytes] of one) if (!other.get(key)?.equals(bytes)) return false;
  return true;
}

async function noMultipartIsOpen(): Promise<void> {
  // The last ones are aborted behind the flush: asking takes long enough.
  for (let tries = 0; tries < 100; tries++) if ((await store.listMultiparts("")).length === 0) return;
  expect(await store.listMultiparts("")).toEqual([]);
}

describe("a process that writes and is killed", () => {
  test(`at ${POINTS} points loses nothing closed, leaves nothing twice or half, and no multipart open`, async () => {
    let round = 0;
    const whole = await runChild({ round, killAt: 0, fromStart: false }, [new Map()]);
    expect(whole.points).toBeGreaterThan(100);
    let { possible } = whole;
    const killed = new Map<string, number>();
    for (let at = 0; at < POINTS; at++) {
      round++;
      const fromStart = at % 5 === 4;
      const range = fromStart ? Math.min(12, whole.points) : whole.points;
      const killAt = 1 + ((at * 7) % range);
      const result = await runChild({ round, killAt, fromStart }, possible);
      possible = result.possible;
      const name = result.killedAt ?? "end";
      killed.set(name, (killed.get(name) ?? 0) + 1);
    }
    await runChild({ round: round + 1, killAt: 0, fromStart: false }, possible);
    await noMultipartIsOpen();
    expect([...killed.values()].reduce((sum, count) => sum + count, 0)).toBe(POINTS);
  }, 1_200_000);
});
