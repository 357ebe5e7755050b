import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { readProbe, requireRoom } from "../../../src/launch/bootstrap/probe.ts";
import { archive } from "../../../src/launch/bundle/tar.ts";
import { gather, shard } from "../../../src/launch/call.ts";
import { instanceInfo } from "../../../src/launch/instance-info.ts";
import { jobCommand, taskEnvironment } from "../../../src/launch/task-environment.ts";
import { shellQuote } from "../../../src/launch/ssh/shell.ts";
import { VolumeCredentials, handsOver, refuseOutliving } from "../../../src/launch/volume-credentials.ts";
import { workFiles } from "../../../src/launch/work-files.ts";
import type { WorkerSpec } from "../../../src/launch/worker/spec.ts";
import { unitName, unitText } from "../../../src/launch/worker/unit.ts";

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const spec: WorkerSpec = {
  pool: "train",
  owner: { id: "1", label: "a@b" },
  rank: 1,
  peers: [
    { rank: 0, address: "10.0.0.1", gpus: 8 },
    { rank: 1, address: "10.0.0.2", gpus: 8 },
  ],
  user: { name: "ubuntu", uid: 1000, gid: 1000, home: "/home/ubuntu" },
  volumes: [
    {
      config: { name: "data", bucket: "b", prefix: "", mount: "/data", mode: "read-only", cache: {} },
      handed: true,
    },
    {
      config: { name: "out", bucket: "b", prefix: "", mount: "/out", mode: "writable", cache: {} },
      handed: true,
    },
  ],
  memoryFolder: "/run",
  systemd: true,
  expiresMs: undefined,
  idleMs: undefined,
  atEnd: "release",
  notices: false,
  facts: { instanceType: "p4d.24xlarge" },
};

describe("a job's environment", () => {
  test("tells torch, torchrun and MPI where they are", () => {
    expect(taskEnvironment(spec, { env: { EXTRA: "1", MASTER_PORT: "1234" } }, { restart: 2 })).toMatchObject(
      {
        HAWSER_RANK: "1",
        HAWSER_NODES: "2",
        HAWSER_RESTART: "2",
        HAWSER_HOSTFILE: "/home/ubuntu/hawser/train/.hawser/hostfile",
        MASTER_ADDR: "10.0.0.1",
        MASTER_PORT: "1234",
        RANK: "1",
        WORLD_SIZE: "2",
        NODE_RANK: "1",
        PET_NNODES: "2",
        PET_NODE_RANK: "1",
        PET_NPROC_PER_NODE: "8",
        PET_MASTER_ADDR: "10.0.0.1",
        OMPI_MCA_orte_default_hostfile: "/home/ubuntu/hawser/train/.hawser/hostfile",
        EXTRA: "1",
      },
    );
  });

  test("is what instanceInfo reads", () => {
    expect(instanceInfo(taskEnvironment(spec, {}))).toEqual({
      pool: "train",
      rank: 1,
      nodes: 2,
      addresses: ["10.0.0.1", "10.0.0.2"],
      head: "10.0.0.1",
      gpus: 8,
      instanceType: "p4d.24xlarge",
      workdir: "/home/ubuntu/hawser/train",
    });
    expect(() => instanceInfo({})).toThrow(/not a job of a pool/);
  });

  test("text is for sh, a list is run as it is", () => {
    expect(jobCommand("a | b", { image: undefined, spec, env: {} })).toEqual(["sh", "-c", "a | b"]);
    expect(jobCommand(["a", "b c"], { image: undefined, spec, env: {} })).toEqual(["a", "b c"]);
  });

  test("an image runs in Docker with GPUs, the volumes that come and go, and no value on the command line", () => {
    expect(jobCommand("train", { image: "torch:2", spec, env: { SECRET: "hidden" } })).toEqual([
      "docker",
      "run",
      "--rm",
      "--init",
      "--name=hawser-train-1",
      "--network=host",
      "--ipc=host",
      "--ulimit=memlock=-1",
      "--user=1000:1000",
      "--gpus=all",
      "--mount",
      "type=bind,source=/home/ubuntu/hawser/train,target=/home/ubuntu/hawser/train",
      "--workdir=/home/ubuntu/hawser/train",
      "--mount",
      "type=bind,source=/data,target=/data,bind-propagation=rslave,readonly",
      "--mount",
      "type=bind,source=/out,target=/out,bind-propagation=rslave",
      "--env",
      "SECRET",
      "torch:2",
      "sh",
      "-c",
      "train",
    ]);
  });
});

describe("a probe's answer", () => {
  const good =
    "arch=aarch64\nsystem=Linux\nuid=1000\ngid=1000\nuser=ubuntu\nhome=/home/ubuntu\naddress=10.0.0.2\nsudo=yes\nsystemd=yes\n" +
    "fuse=yes\nmemory=/run\nfree=1048576\npart=node-arm64-1\ntar=yes\ngpu=NVIDIA A10G\ngpu=NVIDIA A10G\n";

  test("becomes facts", () => {
    expect(readProbe(good, "box")).toMatchObject({
      arch: "arm64",
      sudo: "sudo -n ",
      systemd: true,
      memoryFolder: "/run",
      freeBytes: 2 ** 30,
      parts: ["node-arm64-1"],
      gpus: ["NVIDIA A10G", "NVIDIA A10G"],
    });
  });

  test.each([
    ["arch=aarch64", "arch=riscv64", "node_failed", /neither x86_64 nor aarch64/],
    ["system=Linux", "system=Darwin", "node_failed", /mounts need Linux/],
    ["sudo=yes", "sudo=no sudo: a password is required", "sudo_missing", /NOPASSWD:ALL/],
    ["fuse=yes", "", "fuse_missing", /modprobe fuse/],
    ["memory=/run", "", "node_failed", /must not reach a disk/],
    ["tar=yes", "", "node_failed", /lacks tar/],
  ])("without '%s' it is refused", (line, other, code, message) => {
    expect(() => readProbe(good.replace(line, other), "box")).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test("room is asked for before anything is sent", () => {
    requireRoom(readProbe(good, "box"), 2 ** 29, "box");
    expect(() => requireRoom(readProbe(good, "box"), 2 ** 30, "box")).toThrow(
      /has 1024 MiB free, and the worker needs 1088 MiB/,
    );
  });
});

test("credentials are handed over where the node has none of its own", () => {
  expect(handsOver("hosts", {})).toBe(true);
  expect(handsOver("hosts", { credentials: "anonymous" })).toBe(false);
  expect(handsOver("ec2", {})).toBe(false);
  expect(handsOver("ec2", { credentials: { profile: "minio" } })).toBe(true);
  expect(handsOver("ec2", { credentials: "keys" })).toBe(true);
});

test("a detached job that would outlive its credentials is refused", async () => {
  const given = new Map([
    [
      "out",
      () => Promise.resolve({ accessKeyId: "A", secretAccessKey: "S", expiresMs: Date.now() + 3600_000 }),
    ],
  ]);
  const volumes = spec.volumes.map(({ config }) => config).filter(({ name }) => name === "out");
  const credentials = new VolumeCredentials({ volumes, configPath: undefined, task: {} }, {}, given);
  const pool = { provider: "hosts" as const, volumes, task: {} };
  await expect(refuseOutliving({ ...pool, expiresMs: undefined }, credentials)).rejects.toMatchObject({
    code: "credentials_expired",
  });
  await refuseOutliving({ ...pool, expiresMs: Date.now() + 60_000 }, credentials);
});

test("what a shell would take apart is quoted", () => {
  expect(["plain/1.0", "", "two words", "it's", "$HOME"].map(shellQuote)).toEqual([
    "plain/1.0",
    "''",
    "'two words'",
    `'it'\\''s'`,
    "'$HOME'",
  ]);
});

test("a volume's unit waits for uploads and is named after pool and volume", () => {
  expect(unitName("train", "my data")).toBe("hawser-train-my_data.service");
  expect(unitText("/n", "/h", "train", "out")).toMatch(
    /ExecStart=\/n \/h worker mount train out[\s\S]*TimeoutStopSec=infinity[\s\S]*OOMScoreAdjust=-900/,
  );
});

test("shard and gather", async () => {
  expect([0, 1, 2].map((rank) => shard([1, 2, 3, 4, 5], rank, 3))).toEqual([[1, 4], [2, 5], [3]]);
  expect(() => shard([], 3, 3)).toThrow(/no rank 3 of 3/);
  const late = (): Promise<string>[] => {
    let release!: (value: string) => void;
    const first = new Promise<string>((resolve) => {
      release = resolve;
    });
    const second = Promise.resolve("b");
    void second.then(() => setImmediate(() => release("a")));
    return [first, second];
  };
  expect(await collect(gather(late()))).toEqual(["b", "a"]);
  expect(await collect(gather(late(), { ordered: true }))).toEqual(["a", "b"]);
  expect(await collect(gather(late(), { stream: false }))).toEqual(["a", "b"]);
  await expect(collect(gather([Promise.reject(new Error("no"))]))).rejects.toThrow("no");
});

describe("files of a folder", () => {
  test("what .gitignore and .hawserignore say, in every folder, stays at home", async () => {
    const root = mkdtempSync(join(tmpdir(), "hawser-files-"));
    try {
      mkdirSync(join(root, ".git"));
      mkdirSync(join(root, "sub", "deep"), { recursive: true });
      const files: Record<string, string> = {
        ".git/config": "x",
        ".gitignore": "*.log\n/build\n!keep.log\n",
        ".hawserignore": "*.bin\n",
        "a.py": "a",
        "a.log": "x",
        "keep.log": "k",
        "weights.bin": "x",
        "sub/.gitignore": "!deep/b.log\ndeep/*.tmp\n",
        "sub/deep/b.log": "b",
        "sub/deep/c.tmp": "x",
      };
      for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
      expect((await workFiles(root)).map(({ path }) => path)).toEqual([
        ".gitignore",
        ".hawserignore",
        "a.py",
        "keep.log",
        "sub/.gitignore",
        "sub/deep/b.log",
      ]);
      expect((await workFiles(join(root, "a.py"))).map(({ path }) => path)).toEqual(["a.py"]);
      await expect(workFiles(join(root, "missing"))).rejects.toMatchObject({ code: "not_found" });
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

test("archives are read by tar: modes, links, long and foreign names, sizes that are no multiple of a block", async () => {
  const root = mkdtempSync(join(tmpdir(), "hawser-tar-"));
  try {
    const long = `${"folder/".repeat(20)}ünï.txt`;
    const body = Buffer.alloc(700_001, "x");
    writeFileSync(join(root, "big"), body);
    const pieces = await collect(
      archive([
        { path: "run", mode: 0o755, content: { text: "#!/bin/sh\n" } },
        { path: long, mode: 0o644, content: { text: "long" } },
        { path: "link", mode: 0o777, content: { link: "run" } },
        { path: "big", mode: 0o600, content: { file: join(root, "big"), sizeBytes: body.length } },
      ]),
    );
    mkdirSync(join(root, "out"));
    execFileSync("tar", ["-xf", "-", "-C", join(root, "out")], { input: Buffer.concat(pieces) });
    const listing = execFileSync("sh", ["-c", `cd out && stat -c '%a %s %N' run link big && cat '${long}'`], {
      cwd: root,
    });
    expect(listing.toString()).toMatch(/^755 10 'run'\n777 3 'link' -> 'run'\n600 700001 'big'\nlong$/);
  } finally {
    rmSync(root, { recursive: true });
  }
});
