/** Inputs and outputs as decisions: what nodes are told, what is refused, what their role is allowed. */
import { describe, expect, test } from "vitest";
import { parseFile } from "../../../src/config/file.ts";
import { HawserError } from "../../../src/common/errors.ts";
import { forNode, nodeName } from "../../../src/config/transfers.ts";
import { parsePoolRequest } from "../../../src/config/request.ts";
import { accountOf } from "../../../src/launch/copying.ts";
import { transferAccess, transfersFor } from "../../../src/launch/transfers.ts";

function parse(text: string, pool = "hosts: [ubuntu@10.0.0.5, ubuntu@10.0.0.6]") {
  return parseFile(`pool: { name: a, ${pool} }\n${text}`, "hawser.yaml", {});
}

function problemOf(text: string, pool?: string): string {
  try {
    parse(text, pool);
  } catch (error) {
    if (HawserError.is(error, "config_invalid")) return error.message;
    throw error;
  }
  return "";
}

describe("places that several nodes would write to", () => {
  test.each([
    ["outputs: [{ from: out, to: s3://b/run/ }]", undefined],
    ["outputs: [{ from: 'out-{rank}', to: s3://b/run }]", undefined],
    ["outputs: [{ from: a, to: 's3://b/{rank}' }, { from: b, to: s3://b/1/ }]", undefined],
    ["outputs: [{ from: out, to: 's3://b/{node}/' }]", "hosts: ['me@box:22', 'me@box:23']"],
    ["outputs: [{ from: out, to: s3://b/run/ }]", "preset: cpu-small, nodes: 3"],
  ])("are refused before anything starts: %s", (text, pool) => {
    expect(problemOf(text, pool)).toMatch(
      /^hawser\.yaml:2:\d+: outputs\[\d+\]\.to: nodes \d and \d would both write to s3:\/\/b\/.*; put \{rank\} or \{node\} into it\.$/,
    );
  });

  test.each([
    ["outputs: [{ from: out, to: 's3://b/run/{rank}/' }]", undefined],
    ["outputs: [{ from: out, to: 's3://b/{node}' }]", undefined],
    ["outputs: [{ from: out, to: s3://b/run/ }]", "hosts: [one]"],
    ["outputs: [{ from: out, to: 's3://b/{node}/' }]", "preset: cpu-small, nodes: 3"],
    ["outputs: [{ from: a, to: 's3://b/{rank}' }, { from: b, to: 's3://b/{rank}' }]", undefined],
  ])("are fine when they differ: %s", (text, pool) => {
    expect(problemOf(text, pool)).toBe("");
  });

  test("are refused from flags and programs too", () => {
    const outputs = [{ from: "out", to: "s3://b/run" }];
    expect(() => parsePoolRequest({ pool: { name: "a", hosts: ["x", "y"] }, outputs })).toThrow(
      /outputs\[0\]\.to: nodes 0 and 1 would both write to s3:\/\/b\/run\//,
    );
  });
});

test("mistakes in inputs and outputs are named", () => {
  expect(problemOf("inputs: [{ from: ./data, to: data }]")).toMatch(
    /inputs\[0\]\.from: must be s3:\/\/BUCKET/,
  );
  expect(problemOf("inputs: [{ from: s3://b/x, to: ../../etc }]")).toMatch(/must not go up by '\.\.'/);
  expect(problemOf("outputs: [{ from: o, to: 's3://b/{rank}', include_logs: true }]")).toMatch(
    /unknown key; did you mean 'includeLogs'/,
  );
});

test("a host is called by its address, an instance by its id", () => {
  expect(["ubuntu@10.0.0.5", "box:2222", "me@[fe80::1]:22", "fe80::1", "i-0123"].map(nodeName)).toEqual([
    "10.0.0.5",
    "box",
    "fe80::1",
    "fe80::1",
    "i-0123",
  ]);
  expect(forNode("s3://b/{rank}/{node}/{rank}", { rank: 2, node: "n" })).toBe("s3://b/2/n/2");
});

test("a node is told its own paths, the store as this machine has it, and whose credentials", () => {
  const { task } = parse(`inputs:
  - { from: "s3://data/shards/{rank}/", to: shard, exclude: ["*.tmp"] }
  - { from: s3://public/model.bin, to: /opt/m/, credentials: anonymous, endpoint: "https://other.example" }
outputs:
  - { from: "results-{node}", to: "s3://runs/{node}/", credentials: { profile: lab } }
  - { from: all, to: "s3://runs/all-{rank}", includeLogs: true }`);
  const environment = { AWS_ENDPOINT_URL: "http://s3.local", AWS_REGION: "eu-central-1" };
  const told = transfersFor(task, { rank: 1, id: "me@box", provider: "hosts" }, environment);
  expect(told).toMatchObject([
    { direction: "input", from: "s3://data/shards/1/", to: "shard", exclude: ["*.tmp"], anonymous: false },
    { direction: "input", to: "/opt/m/", anonymous: true, store: { endpoint: "https://other.example" } },
    { direction: "output", from: "results-box", to: "s3://runs/box/", exclude: ["*.log", "logs"] },
    { direction: "output", to: "s3://runs/all-1", exclude: [] },
  ]);
  expect(told[0]!.store).toMatchObject({ endpoint: "http://s3.local", region: "eu-central-1" });
  expect(told.map(({ credentials }) => credentials)).toEqual([
    ".transfer-default",
    undefined,
    expect.stringMatching(/^\.transfer-profile-/),
    ".transfer-default",
  ]);
  const ofInstance = transfersFor(task, { rank: 0, id: "i-1", provider: "ec2" }, {});
  expect(ofInstance.map(({ credentials }) => credentials === undefined)).toEqual([true, true, false, true]);
});

test("the nodes' own role may read inputs and write outputs, as far as their paths are one", () => {
  const { task } = parse(`inputs:
  - { from: "s3://data/shards/{rank}/", to: shard }
  - { from: s3://public/model.bin, to: m, credentials: anonymous }
outputs: [{ from: results, to: "s3://runs/run-{rank}/x" }]`);
  expect(transferAccess(task)).toEqual([
    { bucket: "data", prefix: "shards/", mode: "read-only" },
    { bucket: "runs", prefix: "run-", mode: "writable" },
  ]);
});

test("what was copied is told with bytes, seconds and rate", () => {
  const result = { direction: "output", from: "out", to: "s3://b/", unchanged: 0, failed: 0 } as const;
  expect(accountOf({ ...result, files: 12, bytes: 3 * 2 ** 20, ms: 500 })).toBe(
    "out to s3://b/: 12 files, 3.0 MiB in 0.5 s (6.0 MiB/s)",
  );
  expect(accountOf({ ...result, files: 1, bytes: 10, ms: 1000, unchanged: 2, failed: 1 })).toBe(
    "out to s3://b/: 1 file, 10 B in 1.0 s (10 B/s), 2 there already, 1 failed",
  );
  expect(accountOf({ ...result, files: 0, bytes: 0, ms: 0, missing: true })).toBe(
    "out to s3://b/: there is nothing to copy",
  );
});
