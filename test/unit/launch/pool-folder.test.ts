import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PoolFolder, poolOwner } from "../../../src/launch/pool-folder.ts";
import { RECORD_VERSION, recordVolume } from "../../../src/launch/pool-record.ts";
import type { PoolRecord } from "../../../src/launch/pool-record.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "hawser-pools-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const record: PoolRecord = {
  version: RECORD_VERSION,
  name: "train",
  provider: "hosts",
  phase: "provisioning",
  owner: { id: "1", label: "a@b" },
  createdMs: 1,
  expiresMs: undefined,
  config: { name: "train", hosts: ["a"] },
  volumes: [],
  task: {},
  baseFolder: "/work",
  configPath: undefined,
  nodes: [],
  kept: [],
  timings: [],
};

describe("PoolFolder", () => {
  test("a record is kept privately, found again and removed", () => {
    const folder = new PoolFolder(root, "train");
    expect(folder.read()).toBeUndefined();
    folder.write(record);
    expect(new PoolFolder(root, "train").read()).toMatchObject({ name: "train", phase: "provisioning" });
    expect(PoolFolder.list(root).map(({ name }) => name)).toEqual(["train"]);
    expect(statSync(folder.path).mode & 0o777).toBe(0o700);
    folder.remove();
    expect(PoolFolder.list(root)).toEqual([]);
  });

  test("one command at a time has a pool, and whoever comes second hears who", () => {
    const first = new PoolFolder(root, "train");
    const release = first.lock("up");
    expect(() => new PoolFolder(root, "train").lock("down")).toThrow(/'hawser pool up' \(process \d+, since/);
    release();
    release();
    new PoolFolder(root, "train").lock("down")();
  });

  test("a killed command's lock is taken over", () => {
    const folder = new PoolFolder(root, "train");
    folder.write(record);
    writeFileSync(
      join(folder.path, "lock"),
      JSON.stringify({ pid: process.pid, startTicks: 1, command: "up", sinceMs: 1 }),
    );
    expect(folder.holder()).toBeUndefined();
    folder.lock("down")();
  });

  test("damaged and foreign records are said, not guessed at", () => {
    const folder = new PoolFolder(root, "train");
    folder.write(record);
    writeFileSync(folder.recordPath, "{");
    expect(() => folder.read()).toThrow(/is damaged/);
    writeFileSync(folder.recordPath, '{"version":99}');
    expect(() => folder.read()).toThrow(/another version/);
  });

  test("the owner is made once", () => {
    expect(poolOwner(root)).toEqual(poolOwner(root));
    expect(poolOwner(root).label).toMatch(/@/);
  });

  test("keys of a volume are never recorded", () => {
    const volume = { name: "d", bucket: "b", prefix: "", mount: "/d", mode: "read-only" as const, cache: {} };
    const keys = { accessKeyId: "AK", secretAccessKey: "SK" };
    expect(JSON.stringify(recordVolume({ ...volume, credentials: keys }))).not.toContain("SK");
    expect(recordVolume({ ...volume, credentials: { profile: "p" } }).credentials).toEqual({ profile: "p" });
  });
});
