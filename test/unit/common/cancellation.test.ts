import { expect, test } from "vitest";
import { Cancellation, cancellable, isCancelled, signalOf } from "../../../src/common/cancellation.ts";

const reason = (): Error => new Error("given up");

test("whoever listens is called once, and not after it has stopped listening", () => {
  const cancellation = new Cancellation();
  const calls: string[] = [];
  const stopped = (): unknown => calls.push("stopped");
  cancellation.listen(() => calls.push("first"));
  cancellation.listen(stopped);
  cancellation.unlisten(stopped);
  expect(cancellation.cancelled).toBe(false);
  cancellation.cancel();
  cancellation.cancel();
  expect(calls).toEqual(["first"]);
  expect(cancellation.cancelled).toBe(true);
});

test("its signal fires with it, and one that is asked for later has fired", () => {
  const early = new Cancellation();
  const { signal } = early;
  early.cancel();
  const late = new Cancellation();
  late.cancel();
  expect([signal.aborted, late.signal.aborted, early.signal === signal]).toEqual([true, true, true]);
});

for (const kind of ["a cancellation", "a signal"]) {
  const make = (): { waiter: Cancellation | AbortSignal; cancel: () => void } => {
    const controller = new AbortController();
    const cancellation = new Cancellation();
    return kind === "a signal"
      ? { waiter: controller.signal, cancel: () => controller.abort() }
      : { waiter: cancellation, cancel: () => cancellation.cancel() };
  };

  test(`${kind}: a wait ends with it, and with its promise`, async () => {
    const { waiter, cancel } = make();
    expect(await cancellable(Promise.resolve(7), waiter, reason)).toBe(7);
    await expect(cancellable(Promise.reject(new Error("broken")), waiter, reason)).rejects.toThrow("broken");
    const waiting = cancellable(new Promise(() => {}), waiter, reason);
    expect(isCancelled(waiter)).toBe(false);
    cancel();
    await expect(waiting).rejects.toThrow("given up");
    expect(isCancelled(waiter)).toBe(true);
    expect(signalOf(waiter)?.aborted).toBe(true);
    await expect(cancellable(Promise.resolve(7), waiter, reason)).rejects.toThrow("given up");
  });
}

test("without a waiter a wait is its promise", async () => {
  const promise = Promise.resolve(7);
  expect(cancellable(promise, undefined, reason)).toBe(promise);
  expect([signalOf(undefined), isCancelled(undefined)]).toEqual([undefined, false]);
  await promise;
});
