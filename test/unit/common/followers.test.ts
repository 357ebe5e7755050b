import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { cancellable } from "../../../src/common/cancellation.ts";
import { follow, unfollow } from "../../../src/common/followers.ts";

describe("followers of a signal", () => {
  test("each is called once when it fires, but for those that stopped following", () => {
    const controller = new AbortController();
    const called: string[] = [];
    const leaves = (): void => void called.push("leaves");
    follow(controller.signal, () => called.push("first"));
    follow(controller.signal, leaves);
    follow(controller.signal, () => called.push("last"));
    unfollow(controller.signal, leaves);
    controller.abort();
    controller.abort();
    expect(called).toEqual(["first", "last"]);
  });

  test("one that another lets go of while it fires is not called", () => {
    const controller = new AbortController();
    const called: string[] = [];
    const second = (): void => void called.push("second");
    follow(controller.signal, () => {
      called.push("first");
      unfollow(controller.signal, second);
    });
    follow(controller.signal, second);
    controller.abort();
    expect(called).toEqual(["first"]);
  });

  test("a thousand are one listener, and it goes with the last of them", () => {
    const { signal } = new AbortController();
    const stops = Array.from({ length: 1000 }, () => () => undefined);
    for (const stop of stops) follow(signal, stop);
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    for (const stop of stops) unfollow(signal, stop);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    unfollow(signal, stops[0]!);
  });

  test("who comes again after the last has gone is called", () => {
    const controller = new AbortController();
    const called: string[] = [];
    const stop = (): void => void called.push("again");
    follow(controller.signal, stop);
    unfollow(controller.signal, stop);
    follow(controller.signal, stop);
    controller.abort();
    expect(called).toEqual(["again"]);
  });
});

test("what is refused because its waiter is gone may fail unheard", async () => {
  const unheard: unknown[] = [];
  const hear = (error: unknown): void => void unheard.push(error);
  process.on("unhandledRejection", hear);
  try {
    const work = Promise.reject(new Error("the work"));
    await expect(cancellable(work, AbortSignal.abort(), () => new Error("gone"))).rejects.toThrow("gone");
    await new Promise((resolve) => setImmediate(resolve));
    expect(unheard).toEqual([]);
  } finally {
    process.off("unhandledRejection", hear);
  }
});
