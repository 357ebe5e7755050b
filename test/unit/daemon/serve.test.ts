/** A mount's life with a channel and a volume that are doubles: what is called, in which order, and how it ends. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { callDaemon } from "../../../src/daemon/control-client.ts";
import { serve } from "../../../src/daemon/serve.ts";
import type { Parts, ServedVolume } from "../../../src/daemon/serve.ts";
import type { MountSettings } from "../../../src/daemon/settings.ts";
import { StateFolder } from "../../../src/daemon/state-folder.ts";
import type { Supervisor } from "../../../src/daemon/supervisor.ts";
import type { Channel, ChannelEnd, ChannelSettings } from "../../../src/fuse/channel.ts";

const SETTINGS: ChannelSettings = {
  kind: "native",
  protocolMajor: 7,
  protocolMinor: 40,
  maxWriteBytes: 1,
  maxReadaheadBytes: 1,
  readdirPlus: true,
  passthrough: false,
  notify: true,
  resend: true,
};

class FakeChannel implements Channel {
  readonly kind = "native";
  readonly calls: string[];
  busy = false;
  mountError: Error | undefined;
  end!: (end: ChannelEnd) => void;
  readonly ended = new Promise<ChannelEnd>((resolve) => (this.end = resolve));

  constructor(calls: string[]) {
    this.calls = calls;
  }
  mount(): Promise<ChannelSettings> {
    this.calls.push("mount");
    return this.mountError ? Promise.reject(this.mountError) : Promise.resolve(SETTINGS);
  }
  unmount({ lazy = false } = {}): Promise<void> {
    this.calls.push(lazy ? "lazy" : "unmount");
    if (this.busy && !lazy) return Promise.reject(new HawserError("mount_point_busy", "busy"));
    this.end({ reason: "unmounted" });
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.calls.push("close channel");
    this.end({ reason: "unmounted" });
    return Promise.resolve();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

let root: string;
let folder: StateFolder;
let calls: string[];
let channel: FakeChannel;
let parts: Parts;
let onReady: () => void;
let lose: () => void;
let supervisor: Supervisor;
let title: string;

beforeEach(() => {
  title = process.title;
  root = mkdtempSync(join(tmpdir(), "hawser-serve-"));
  folder = StateFolder.for(root, "/m/data");
  const settings: MountSettings = {
    version: 1,
    name: "data",
    volume: {
      bucket: "data",
      prefix: "",
      mount: "/m/data",
      mode: "read-only",
      cache: {},
      unmountTimeout: 150,
    },
    mountPoint: "/m/data",
    credentials: { from: "default" },
    logLevel: "info",
    createdMs: 0,
  };
  folder.claim(settings);
  calls = [];
  channel = new FakeChannel(calls);
  parts = {
    openVolume: () => {
      calls.push("open volume");
      const close = (): Promise<void> => {
        calls.push("close volume");
        return Promise.resolve();
      };
      return Promise.resolve({
        filesystem: {},
        warming: { list: () => [] },
        waits: () => undefined,
        store: { endpoint: { url: "u", region: "r" } },
        report: () => {},
        close,
      } as unknown as ServedVolume);
    },
    createChannel: () => Promise.resolve(channel),
  };
  supervisor = {
    ready: () => onReady(),
    note: () => {},
    failed: () => {},
    credentials: () => Promise.reject(new Error("none")),
    onLost: (fn) => (lose = fn),
  };
});
afterEach(() => {
  process.title = title;
  process.umask(0o022);
  rmSync(root, { recursive: true, force: true });
});

/** Serves until ready. @returns the promise of its end */
async function serving(): Promise<{ ended: Promise<void> }> {
  const ready = new Promise<void>((resolve) => (onReady = resolve));
  const ended = serve(folder, supervisor, parts);
  await Promise.race([ready, ended]);
  return { ended };
}

describe("ends", () => {
  test("when it is unmounted from outside, and closes in the reverse order", async () => {
    const { ended } = await serving();
    channel.end({ reason: "unmounted" });
    await ended;
    expect(calls).toEqual(["open volume", "mount", "close channel", "close volume"]);
    expect(StateFolder.list(root)).toEqual([]);
    expect(readFileSync(folder.logPath, "utf8")).toContain('"msg":"ended"');
  });

  test("by the control socket", async () => {
    const { ended } = await serving();
    expect(await callDaemon(folder.socketPath, "status", {})).toMatchObject({
      state: "serving",
      endpoint: "u",
      mountPoint: "/m/data",
    });
    await callDaemon(folder.socketPath, "unmount", {});
    await ended;
    expect(calls).toContain("unmount");
  });

  test("not by the control socket while files are open, unless forced", async () => {
    const { ended } = await serving();
    channel.busy = true;
    await expect(callDaemon(folder.socketPath, "unmount", {})).rejects.toMatchObject({
      code: "mount_point_busy",
    });
    await callDaemon(folder.socketPath, "unmount", { force: true });
    await ended;
  });

  test("by a signal, lazily when files stay open", async () => {
    const { ended } = await serving();
    channel.busy = true;
    process.emit("SIGTERM", "SIGTERM");
    await ended;
    expect(calls.filter((call) => call === "unmount").length).toBeGreaterThan(0);
    expect(calls).toContain("lazy");
  });

  test("when the program that owns it is gone", async () => {
    const { ended } = await serving();
    lose();
    await ended;
    expect(calls).toContain("unmount");
  });

  test("with an error when the connection broke", async () => {
    const { ended } = await serving();
    channel.end({ reason: "failed", error: new HawserError("io_error", "aborted") });
    await expect(ended).rejects.toMatchObject({ code: "io_error" });
    expect(StateFolder.list(root)).toEqual([]);
  });
});

describe("fails", () => {
  test("when the volume cannot be opened, and leaves no state", async () => {
    parts.openVolume = () => Promise.reject(new HawserError("bucket_not_found", "no"));
    await expect(serving()).rejects.toMatchObject({ code: "bucket_not_found" });
    expect(calls).toEqual([]);
    expect(StateFolder.list(root)).toEqual([]);
  });

  test("when the kernel refuses, and closes what was opened", async () => {
    channel.mountError = new HawserError("fuse_denied", "no");
    await expect(serving()).rejects.toMatchObject({ code: "fuse_denied" });
    expect(calls).toEqual(["open volume", "mount", "close channel", "close volume"]);
  });

  test("when it is stopped before it was ready", async () => {
    const open = parts.openVolume;
    parts.openVolume = async (settings, context) => {
      process.emit("SIGTERM", "SIGTERM");
      return await open(settings, context);
    };
    await expect(serving()).rejects.toMatchObject({ code: "interrupted" });
    expect(calls).toContain("close volume");
    expect(calls).not.toContain("mount");
  });
});
