import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { callDaemon } from "../../../src/daemon/control-client.ts";
import { LineSplitter } from "../../../src/daemon/control-protocol.ts";
import type { MountStatus } from "../../../src/daemon/control-protocol.ts";
import { ControlServer } from "../../../src/daemon/control-server.ts";
import type { ControlHandlers } from "../../../src/daemon/control-server.ts";
import { warmHandlers } from "../../../src/daemon/warm-control.ts";
import { WarmJobs } from "../../../src/daemon/warm-jobs.ts";
import { silentLogger } from "../../../src/observe/logger.ts";

const STATUS = { name: "data", mountPoint: "/m" } as MountStatus;

/** Not asked here. */
const NONE = {
  warm: () => Promise.reject(new Error("not here")),
  evict: () => Promise.reject(new Error("not here")),
  file: () => Promise.reject(new Error("not here")),
  require: () => Promise.reject(new Error("not here")),
  select: () => Promise.reject(new Error("not here")),
};

let folder: string;
let path: string;
let server: ControlServer;
let handlers: ControlHandlers;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hawser-control-"));
  path = join(folder, "control");
  handlers = {
    status: () => STATUS,
    metrics: () => ({ text: "m" }),
    unmount: vi.fn(() => ({})),
    flush: () => ({}),
    refresh: () => ({ names: 0 }),
    ...warmHandlers(new WarmJobs({ content: NONE, files: NONE })),
  };
  server = new ControlServer(handlers, silentLogger);
  writeFileSync(path, "left from before");
  await server.listen(path);
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

test("a call is answered, with its parameters handed on", async () => {
  expect(await callDaemon(path, "status", {})).toEqual(STATUS);
  await callDaemon(path, "unmount", { lazy: true });
  expect(handlers.unmount).toHaveBeenCalledWith({ lazy: true }, expect.any(Function));
});

test("the socket is its owner's alone", () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("an error arrives with its code and what the store said", async () => {
  handlers.unmount = () =>
    Promise.reject(new HawserError("mount_point_busy", "busy", { s3Code: "X", requestId: "R" }));
  await expect(callDaemon(path, "unmount", {})).rejects.toMatchObject({
    code: "mount_point_busy",
    message: "busy",
    s3Code: "X",
    requestId: "R",
  });
});

test("a bug arrives as internal", async () => {
  handlers.status = () => {
    throw new TypeError("oops");
  };
  await expect(callDaemon(path, "status", {})).rejects.toMatchObject({ code: "internal", message: "oops" });
});

test("a method of another version is refused, also one with a name of Object's", async () => {
  for (const method of ["warp", "constructor", "__proto__"]) {
    await expect(callDaemon(path, method as "status", {})).rejects.toMatchObject({ code: "not_supported" });
  }
});

test("events come before the result", async () => {
  const events: unknown[] = [];
  handlers.unmount = (_params, emit) => {
    emit({ left: 2 });
    emit({ left: 1 });
    return {};
  };
  await callDaemon(path, "unmount", {}, { onEvent: (event) => events.push(event) });
  expect(events).toEqual([{ left: 2 }, { left: 1 }]);
});

test("a call gives up after its time", async () => {
  handlers.status = () => new Promise(() => {});
  await expect(callDaemon(path, "status", {}, { timeoutMs: 20 })).rejects.toMatchObject({
    code: "daemon_failed",
  });
});

test("nobody there is daemon_failed", async () => {
  await expect(callDaemon(join(folder, "none"), "status", {})).rejects.toMatchObject({
    code: "daemon_failed",
  });
});

test("garbage drops the connection and nothing else", async () => {
  const socket = createConnection(path);
  socket.write("this is no JSON\n");
  await new Promise((resolve) => socket.once("close", resolve));
  expect(await callDaemon(path, "status", {})).toEqual(STATUS);
});

test("what is under way when the server closes is still answered", async () => {
  let finish = (): void => {};
  const entered = new Promise<void>((resolve) => {
    handlers.unmount = () => {
      resolve();
      return new Promise((done) => (finish = () => done({})));
    };
  });
  const call = callDaemon(path, "unmount", {});
  await entered;
  const closing = server.close();
  finish();
  expect(await call).toEqual({});
  await closing;
  await server.close();
});

test("lines are cut wherever chunks end, and an endless one is refused", () => {
  const splitter = new LineSplitter();
  expect([splitter.push("a\nb"), splitter.push("c"), splitter.push("\n\n")]).toEqual([["a"], [], ["bc", ""]]);
  expect(() => splitter.push("x".repeat(1024 * 1024 + 1))).toThrow("longer than 1 MiB");
});
