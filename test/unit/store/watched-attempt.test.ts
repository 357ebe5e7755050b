import { expect, test } from "vitest";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import { Site } from "../../../src/store/site.ts";
import { WatchedAttempt } from "../../../src/store/watched-attempt.ts";
import { TestClock } from "./test-clock.ts";

function watch(endsInMs = Number.POSITIVE_INFINITY, signals: AbortSignal[] = []) {
  const clock = new TestClock();
  const site = new Site({
    bucket: "data",
    credentials: createCredentialSource({ credentials: "anonymous" }),
    clock,
  });
  const attempt = new WatchedAttempt({ site, signals, number: 1, limitMs: 100, endsInMs });
  return { clock, attempt };
}

test("silence ends an attempt, signs of life put that off", () => {
  const { clock, attempt } = watch();
  clock.advance(99);
  attempt.alive();
  clock.advance(99);
  expect(attempt.signal.aborted).toBe(false);
  expect(attempt.why()).toBeUndefined();
  clock.advance(1);
  expect(attempt.signal.aborted).toBe(true);
  expect(attempt.why()).toMatchObject({ kind: "timeout" });
});

test("a limit that was lifted while the receiver worked counts again afterwards", () => {
  const { clock, attempt } = watch();
  attempt.alive(Number.MAX_SAFE_INTEGER);
  clock.advance(10_000_000);
  expect(attempt.signal.aborted).toBe(false);
  attempt.alive(50);
  clock.advance(50);
  expect(attempt.signal.aborted).toBe(true);
});

test("a deadline ends even what is alive", () => {
  const { clock, attempt } = watch(150);
  clock.advance(90);
  attempt.alive();
  clock.advance(60);
  expect(attempt.why()).toMatchObject({ message: "the deadline is over" });
});

test("any of its signals ends it, and after its end nothing does", () => {
  const controller = new AbortController();
  const first = watch(undefined, [controller.signal]);
  const second = watch(undefined, [controller.signal]);
  second.attempt.end();
  second.attempt.end();
  controller.abort();
  second.clock.advance(1000);
  expect([first.attempt.signal.aborted, second.attempt.signal.aborted]).toEqual([true, false]);
  expect(watch(undefined, [controller.signal]).attempt.signal.aborted).toBe(true);
});
