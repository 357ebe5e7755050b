import { describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { parseFile } from "../../../src/config/file.ts";
import { providerOf } from "../../../src/config/pool.ts";

const parse = (text: string) => parseFile(text, "hawser.yaml", {});

function problemsOf(text: string): string[] {
  try {
    parse(text);
  } catch (error) {
    if (HawserError.is(error, "config_invalid")) return error.message.split("\n");
    throw error;
  }
  return [];
}

describe("pool:", () => {
  test("hosts, task and volumes are read side by side", () => {
    const { pool, task, volumes } = parse(`
volumes:
  - { bucket: my-data, prefix: imagenet/, mount: /data, warm: true }
pool:
  name: train
  hosts: [ubuntu@10.0.0.5, "[fe80::1]:2222", gpu-box]
  ssh: { identityFile: ~/.ssh/train, bastion: me@gate }
  ttl: 8h
workdir: .
setup: [ "pip install -r requirements.txt" ]
env: { OMP_NUM_THREADS: 4 }
job: torchrun train.py --data /data
`);
    expect(pool).toMatchObject({ name: "train", ttl: 8 * 3600_000, ssh: { bastion: "me@gate" } });
    expect(providerOf(pool!)).toBe("hosts");
    expect(volumes).toHaveLength(1);
    expect(task).toEqual({
      workdir: ".",
      setup: ["pip install -r requirements.txt"],
      env: { OMP_NUM_THREADS: "4" },
      job: "torchrun train.py --data /data",
    });
  });

  test("a pool needs no volume, and a file without a pool does", () => {
    expect(parse("pool: { name: a, hosts: [b] }\n").volumes).toEqual([]);
    expect(problemsOf("job: ls\n")).toEqual([expect.stringMatching(/volumes: is required/)]);
  });

  test("mistakes are named with line and key", () => {
    expect(
      problemsOf("pool:\n  name: Train!\n  hosts: [a]\n  nodes: 0\n  tll: 8h\njob: []\nservice: maybe\n"),
    ).toEqual([
      expect.stringMatching(/^hawser.yaml:2:9: pool.name: must be 1 to 40 small letters/),
      expect.stringMatching(/^hawser.yaml:4:10: pool.nodes: '0' is not a number of nodes/),
      expect.stringMatching(/^hawser.yaml:5:3: pool.tll: unknown key; did you mean 'ttl'\?/),
      expect.stringMatching(/^hawser.yaml:6:6: job: must not be empty/),
      expect.stringMatching(/^hawser.yaml:7:10: service: /),
    ]);
  });

  test.each([
    ["hosts: [a, b]\n  nodes: 3", /pool.nodes: is 3, and hosts names 2/],
    ["hosts: [a, a]", /pool.hosts: 'a' is named twice/],
    ["hosts: [a]\n  preset: gpu-t4", /pool.preset: does not go with hosts/],
    ["preset: gpu-t4\n  instanceTypes: [g5.xlarge]", /pool.instanceTypes: does not go with preset/],
    ["nodes: 2", /pool: must say which machines/],
    [
      "preset: gpu-t4\n  nodes: { min: 1, max: 4 }",
      /pool.nodes: a pool that grows and shrinks is not there yet/,
    ],
  ])("what does not go together is refused: %s", (text, message) => {
    expect(problemsOf(`pool:\n  name: train\n  ${text}\n`)).toEqual([expect.stringMatching(message)]);
  });
});
