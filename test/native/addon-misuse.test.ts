import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { native, type NativeConnection, type OnEvents } from "../../src/common/native.ts";
import { outcome, signalOnce, type Outcome } from "./serve-here.ts";

const { errno } = constants;
const nothing = (): void => {};
const folder = fileURLToPath(new URL("../../native", import.meta.url));

/** A connection that was never mounted: its reader ends at once with EPERM. */
function unmounted(onEvents: OnEvents = nothing): NativeConnection {
  const addon = native();
  return new addon.Connection(addon.openDevice("/dev/fuse"), 1, onEvents);
}

/** Runs code in a process of its own, with the addon as `addon`. */
function runNode(code: string): Promise<Outcome> {
  const prelude = `const addon = require("node-gyp-build")(${JSON.stringify(folder)});\n`;
  return outcome(spawn(process.execPath, ["-e", prelude + code], { cwd: folder }));
}

describe("making a connection", () => {
  const make = (...args: unknown[]): unknown => Reflect.construct(native().Connection, args);

  it.each([[[]], [["1", 1, nothing]], [[1, 1]], [[1, 1, "text"]]])("refuses %j", (args) => {
    expect(() => make(...args)).toThrow(TypeError);
  });

  it("refuses a count of threads that makes no sense", () => {
    expect(() => make(0, 0, nothing)).toThrow(RangeError);
    expect(() => make(0, 1000, nothing)).toThrow(RangeError);
  });

  it("refuses a descriptor that is not open", () => {
    expect(() => make(1_000_000, 1, nothing)).toThrow("EBADF");
  });

  it("tells once that the descriptor is not mounted", async () => {
    const ended = signalOnce<number>();
    let calls = 0;
    const connection = unmounted((requests, written, notified, end) => {
      expect([requests, written, notified]).toEqual([0, 0, 0]);
      calls++;
      ended.fire(end);
    });
    expect(await ended.promise).toBe(errno.EPERM);
    connection.stop();
    expect(calls).toBe(1);
  });
});

describe("a stopped connection", () => {
  it("answers EBADF to everything and keeps its memory", () => {
    const connection = unmounted();
    const { fd, arena } = connection;
    connection.stop();
    connection.stop();
    expect(connection.fd).toBe(-1);
    expect(() => fstatSync(fd)).toThrow("EBADF");
    expect(connection.send(new Uint8Array(16), 16)).toBe(-errno.EBADF);
    expect(connection.sendChunks(1, 0, [], 0)).toBe(-errno.EBADF);
    expect(connection.queueChunks(1, 0, [], 0, 1)).toBe(-errno.EBADF);
    expect(connection.notify(new Uint8Array(16), 1)).toBe(-errno.EBADF);
    expect(connection.giveBack(0)).toBe(-errno.EBADF);
    expect(connection.openBacking(0)).toBe(-errno.EBADF);
    expect(connection.closeBacking(1)).toBe(-errno.EBADF);
    expect(new Uint8Array(arena).length).toBe(64 * (1024 * 1024 + 4096));
  });

  it("may be stopped from within its own callback", async () => {
    const stopped = signalOnce();
    const connection: NativeConnection = unmounted(() => {
      connection.stop();
      stopped.fire();
    });
    await stopped.promise;
    expect(connection.fd).toBe(-1);
  });
});

describe("wrong arguments", () => {
  it.each<[string, (connection: NativeConnection) => unknown, typeof Error]>([
    ["a reply without a header", (c) => c.send(new Uint8Array(16), 15), RangeError],
    ["a reply longer than its buffer", (c) => c.send(new Uint8Array(16), 17), RangeError],
    ["chunks shorter than said", (c) => c.sendChunks(1, 0, [new Uint8Array(5)], 6), RangeError],
    ["queued chunks shorter than said", (c) => c.queueChunks(1, 0, [new Uint8Array(5)], 6, 1), RangeError],
    [
      "more chunks than are written at once",
      (c) =>
        c.sendChunks(
          1,
          0,
          Array.from({ length: 65 }, () => new Uint8Array(1)),
          65,
        ),
      RangeError,
    ],
    ["a slot that is not held", (c) => c.giveBack(3), RangeError],
    ["a slot that does not exist", (c) => c.giveBack(64), RangeError],
    ["bytes of another type", (c) => Reflect.apply(c.send, c, [new Uint16Array(16), 16]), TypeError],
    ["chunks that are no array", (c) => Reflect.apply(c.sendChunks, c, [1, 0, "text", 1]), TypeError],
    ["a foreign receiver", (c) => Reflect.apply(c.send, {}, [new Uint8Array(16), 16]), Error],
  ])("%s", (_name, call, kind) => {
    const connection = unmounted();
    expect(() => call(connection)).toThrow(kind);
    connection.stop();
  });
});

describe("the end of a process or thread with a running connection", () => {
  const running = `new addon.Connection(addon.openDevice("/dev/fuse"), 2, () => {});\n`;

  it.each([
    ["process.exit", `${running} process.exit(3)`, 3],
    [
      "process.exit in the callback",
      `new addon.Connection(addon.openDevice("/dev/fuse"), 2, () => process.exit(4))`,
      4,
    ],
    ["stop", `const c = ${running} c.stop(); process.exitCode = 5`, 5],
    [
      "an exception in the callback",
      `new addon.Connection(addon.openDevice("/dev/fuse"), 2, () => { throw 1 })`,
      1,
    ],
  ])("%s ends the process", async (_name, code, expected) => {
    expect(await runNode(code)).toMatchObject({ code: expected, signal: null });
  });

  it("is stopped with its worker thread", async () => {
    const code = `
      const { workerData, parentPort } = require("node:worker_threads");
      const addon = require("node-gyp-build")(workerData);
      ${running}
      parentPort.postMessage("running");
      setInterval(() => {}, 1000);`;
    const worker = new Worker(code, { eval: true, workerData: folder });
    await new Promise((resolve) => worker.once("message", resolve));
    expect(await worker.terminate()).toBe(1);
  });
});

describe("a descriptor handed over", () => {
  it("is closed with the connection and not before", () => {
    const connection = unmounted();
    const other = openSync("/dev/null", "r");
    expect(fstatSync(connection.fd).isCharacterDevice()).toBe(true);
    connection.stop();
    expect(fstatSync(other).isCharacterDevice()).toBe(true);
    closeSync(other);
  });
});
