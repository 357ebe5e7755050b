import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { identify, isAlive, usersOf } from "../../../src/daemon/process-table.ts";
import { credentialsReference, parseSettings } from "../../../src/daemon/settings.ts";
import type { MountSettings } from "../../../src/daemon/settings.ts";
import { StateFolder, stateRoot } from "../../../src/daemon/state-folder.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "hawser-state-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function settings(mountPoint = "/m/data"): MountSettings {
  return {
    version: 1,
    name: "data",
    volume: { bucket: "data", prefix: "", mount: mountPoint, mode: "read-only", cache: {} },
    mountPoint,
    credentials: { from: "default" },
    logLevel: "info",
    createdMs: 0,
  };
}

describe("where state lives", () => {
  test.each([
    [{ HAWSER_STATE_DIR: "/s" }, 1000, "/s"],
    [{}, 0, "/run/hawser"],
    [{ XDG_RUNTIME_DIR: "/run/user/1000" }, 1000, "/run/user/1000/hawser"],
    [{ XDG_STATE_HOME: "/home/me/.state" }, 1000, "/home/me/.state/hawser"],
  ])("%j as %d: %s", (environment, uid, path) => expect(stateRoot(environment, uid)).toBe(path));

  test("each mount point has one folder, whose name says which", () => {
    const a = StateFolder.for(root, "/m/data");
    expect(a.path).toBe(StateFolder.for(root, "/m/data").path);
    expect(a.path).not.toBe(StateFolder.for(root, "/x/data").path);
    expect(a.path).toMatch(/\/data-[0-9a-f]{10}$/);
    expect(StateFolder.for(root, `/m/${"ü/ß'".repeat(40)}`).path).toMatch(/^[\x20-\x7e]+$/);
  });
});

describe("a claim", () => {
  test("makes the folder private and keeps the last log", () => {
    const folder = StateFolder.for(root, "/m/data");
    mkdirSync(folder.path, { mode: 0o755 });
    writeFileSync(folder.logPath, "before");
    folder.claim(settings());
    expect(statSync(folder.path).mode & 0o777).toBe(0o700);
    expect(statSync(folder.settingsPath).mode & 0o777).toBe(0o600);
    expect(readFileSync(`${folder.logPath}.1`, "utf8")).toBe("before");
    expect(folder.settings()).toEqual(settings());
    expect(folder.liveOwner()?.pid).toBe(process.pid);
    expect(StateFolder.list(root).map(({ path }) => path)).toEqual([folder.path]);
  });

  test("is refused while another process that lives has it, and taken over when that is dead", async () => {
    const folder = StateFolder.for(root, "/m/data");
    folder.claim(settings());
    const other = spawn("sleep", ["60"]);
    writeFileSync(folder.ownerPath, JSON.stringify(identify(other.pid!)));
    expect(() => folder.claim(settings())).toThrow(expect.objectContaining({ code: "mount_point_busy" }));
    other.kill("SIGKILL");
    await new Promise((resolve) => other.once("close", resolve));
    folder.claim(settings());
    expect(folder.owner()?.pid).toBe(process.pid);
  });

  test("a later process with the same number is not the owner", () => {
    const own = identify(process.pid)!;
    expect(isAlive(own)).toBe(true);
    expect(isAlive({ ...own, startTicks: own.startTicks - 1 })).toBe(false);
  });

  test("an owner file that is damaged does not keep anybody out", () => {
    const folder = StateFolder.for(root, "/m/data");
    mkdirSync(folder.path);
    writeFileSync(folder.ownerPath, "{");
    folder.claim(settings());
    expect(folder.liveOwner()?.pid).toBe(process.pid);
  });

  test("release leaves nothing but the logs", () => {
    const folder = StateFolder.for(root, "/m/data");
    folder.claim(settings());
    writeFileSync(folder.logPath, "log");
    folder.release();
    expect(existsSync(folder.logPath)).toBe(true);
    expect(StateFolder.list(root)).toEqual([]);
    expect(() => folder.settings()).toThrow(expect.objectContaining({ code: "not_mounted" }));
  });

  test("a folder that cannot be made says what to set", () => {
    writeFileSync(join(root, "file"), "");
    expect(() => new StateFolder(join(root, "file", "x")).claim(settings())).toThrow("HAWSER_STATE_DIR");
  });

  test("a path that is too long for a socket says so", () => {
    expect(() => new StateFolder(join(root, "x".repeat(120))).claim(settings())).toThrow(
      "too long for a socket",
    );
  });
});

test("logs of mounts that ended are kept for a week", () => {
  const [old, recent, live] = ["/m/old", "/m/recent", "/m/live"].map((path) => StateFolder.for(root, path));
  for (const folder of [old!, recent!, live!]) {
    folder.claim(settings());
    writeFileSync(folder.logPath, "log");
    if (folder !== live) folder.release();
  }
  const longAgo = Date.now() / 1000 - 8 * 24 * 3600;
  utimesSync(old!.path, longAgo, longAgo);
  utimesSync(live!.path, longAgo, longAgo);
  StateFolder.prune(root);
  expect([old!, recent!, live!].map(({ path }) => existsSync(path))).toEqual([false, true, true]);
  StateFolder.prune(join(root, "none"));
});

test("settings of another version are refused, not misread", () => {
  expect(() => parseSettings('{"version": 99}', "s")).toThrow("another version");
  expect(() => parseSettings("{", "s")).toThrow("damaged");
  expect(() => parseSettings("null", "s")).toThrow(expect.objectContaining({ code: "daemon_failed" }));
});

test("credentials are referred to, and keys never", () => {
  expect(credentialsReference(undefined)).toEqual({ from: "default" });
  expect(credentialsReference("anonymous")).toEqual({ from: "anonymous" });
  expect(credentialsReference({ profile: "p" })).toEqual({ from: "profile", profile: "p" });
  expect(credentialsReference({ accessKeyId: "a", secretAccessKey: "b" })).toBeUndefined();
});

test("who uses a path is found by its links", async () => {
  chmodSync(root, 0o755);
  const child = spawn("sleep", ["60"], { cwd: root });
  await new Promise((resolve) => child.once("spawn", resolve));
  try {
    expect(usersOf(root)).toEqual([{ pid: child.pid, command: "sleep" }]);
    expect(usersOf(`${root}-other`)).toEqual([]);
  } finally {
    child.kill("SIGKILL");
  }
});
