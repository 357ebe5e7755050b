import { expect, test } from "vitest";
import { RECORD_VERSION } from "../../../src/launch/pool-record.ts";
import type { PoolRecord } from "../../../src/launch/pool-record.ts";
import { timeIsOver } from "../../../src/launch/time-over.ts";

const HOUR = 3600_000;

const record: PoolRecord = {
  version: RECORD_VERSION,
  name: "train",
  provider: "hosts",
  phase: "ready",
  owner: { id: "1", label: "a@b" },
  createdMs: Date.UTC(2026, 0, 2, 3),
  expiresMs: Date.UTC(2026, 0, 2, 11),
  config: { name: "train", hosts: ["a"], ttl: 8 * HOUR },
  volumes: [
    { name: "data", bucket: "my-data", prefix: "", mount: "/data", mode: "read-only", cache: {} },
    { name: "out", bucket: "my-runs", prefix: "run-42/", mount: "/out", mode: "writable", cache: {} },
  ],
  task: { outputs: [{ from: "results", to: "s3://my-runs/results/" }] },
  baseFolder: "/work",
  configPath: undefined,
  nodes: [],
  kept: [],
  timings: [],
};

test("which limit it was, when, where everything is, and how to have more time", () => {
  expect(timeIsOver(record, { logsPath: "/logs", broughtHome: true })).toBe(
    "the pool 'train' reached its time to live (ttl: 8h) at 2026-01-02T11:00:00.000Z, and its job was stopped there. " +
      "What it had written until then is in the bucket: /out in s3://my-runs/run-42/, results in s3://my-runs/results/. " +
      "The output of each rank is in /logs. " +
      "For more time write a longer ttl: in hawser.yaml, or give it to a pool that is up with 'hawser pool extend train --ttl TIME'",
  );
});

test("an end that was moved is not the ttl, and what is not in the bucket is not said to be", () => {
  const moved = { ...record, expiresMs: record.createdMs + HOUR };
  expect(timeIsOver(moved, { logsPath: "/logs", broughtHome: false })).toMatch(
    /reached the end that it was given at 2026-01-02T04.*What it wrote goes: \/out in/,
  );
  expect(timeIsOver({ ...record, volumes: [], task: {} }, { logsPath: "/l", broughtHome: true })).toMatch(
    /stopped there\. The output of each rank/,
  );
});
