/** Inputs and outputs: nodes copy them by themselves, and what is not in the bucket keeps its node. */
import { execFile, spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { MiB } from "../../src/common/units.ts";
import { HawserError } from "../../src/common/errors.ts";
import { Pool } from "../../src/launch/pool.ts";
import { runWhole } from "../../src/launch/whole-run.ts";
import { eventually } from "../e2e/harness.ts";
import { TEST_BUCKET } from "../support/dev-s3.ts";
import { PoolWorld, TIMEOUTS } from "../support/pool-world.ts";
import { run, tryRun } from "../support/run.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));
const execute = promisify(execFile);

let world: PoolWorld;
let folder: string;
beforeAll(async () => {
  world = await PoolWorld.open({ login: "worker" });
  folder = join(world.bed.folder, "project");
  mkdirSync(folder);
  await world.put("in/words/a.txt", "alpha");
  await world.put("in/words/deep/b.txt", "beta");
  await world.put("in/words/c.tmp", "no");
  await world.put("in/model.bin", "m".repeat(9 * MiB));
  for (const rank of [0, 1, 2]) await world.put(`in/shards/${rank}/part.bin`, String(rank).repeat(2 * MiB));
});
afterEach(async () => {
  world.events.splice(0);
  world.server.s3.faults.clear();
  const pool = await Pool.find("copies", "down", world.options()).catch((error: unknown) => {
    if (!HawserError.is(error, "pool_not_found")) throw error;
  });
  await pool?.down();
  pool?.close();
});
afterAll(() => world?.close());

/** Three inputs and an output, no volume. */
function yaml(job: string, more = ""): string {
  const { identityFile, knownHostsFile } = world.bed.ssh;
  const b = `s3://${TEST_BUCKET}`;
  const text = `pool:
  name: copies
  hosts: [${world.bed.names.join(", ")}]
  ssh: { identityFile: ${identityFile}, knownHostsFile: ${knownHostsFile} }
${TIMEOUTS}
inputs:
  - { from: ${b}/in/words/, to: words, exclude: ["*.tmp"] }
  - { from: ${b}/in/model.bin, to: /opt/copies/model.bin }
  - { from: "${b}/in/shards/{rank}/", to: "shard-{rank}" }
outputs:
  - { from: results, to: "${b}/home/{node}/" }
  - { from: results/words, to: "${b}/words/{rank}" }
job: |
  ${job}
${more}
`;
  writeFileSync(join(folder, "hawser.yaml"), text);
  return text;
}

const home = (rank: number, path: string): Promise<string | undefined> =>
  world.get(`home/${world.bed.hosts[rank]!.address}/${path}`);

const JOB = `mkdir -p results/logs; cat words/a.txt words/deep/b.txt > results/words; ls words >> results/words
  stat -c %s /opt/copies/model.bin > results/model; head -c 1 shard-$RANK/part.bin > results/shard
  echo noise > results/train.log; echo noise > results/logs/x`;

test("three inputs and an output on three hosts, from a launcher that cannot reach the store and sends nothing of it", async () => {
  yaml(JOB);
  const first = await fromOwnNamespace();
  expect(first.stderr).toMatch(/node 1: inputs 4 files, 11\.0 MiB/);
  expect(first.stderr).toMatch(
    /node 0: results to s3:\/\/.*\/home\/10\.\d+\.\d+\.10\/: 3 files, .* \(.*\/s\)/,
  );
  expect(first.code).toBe(0);
  for (const rank of [0, 1, 2]) {
    expect(await home(rank, "words")).toBe("alphabetaa.txt\ndeep\n");
    expect(await home(rank, "model")).toBe(`${9 * MiB}\n`);
    expect(await home(rank, "shard")).toBe(String(rank));
    expect(await world.get(`words/${rank}`)).toBe("alphabetaa.txt\ndeep\n");
    expect(await home(rank, "train.log")).toBeUndefined();
    expect(await home(rank, "logs/x")).toBeUndefined();
  }
  // The bundle is there now: what passes the launcher's network is the launch alone.
  const second = await fromOwnNamespace();
  expect(second.stderr).toMatch(/node 2: inputs nothing new/);
  expect(second.code).toBe(0);
  expect(second.networkBytes).toBeLessThan(1 * MiB);
});

/** `hawser pool run` in a network namespace of its own, from which there is no way to the store. */
async function fromOwnNamespace(): Promise<{ code: number; stderr: string; networkBytes: number }> {
  const [octet] = world.bed.address.split(".").slice(2);
  const namespace = `hw-copies-${octet}`;
  const device = `hwc${octet}`;
  world.bed.note({ namespace });
  await run("ip", ["netns", "add", namespace]);
  try {
    await world.bed.attach(namespace, device, world.bed.address.replace(/\.1$/, ".9"));
    await run("ip", ["-n", namespace, "route", "add", "blackhole", `${world.bed.address}/32`]);
    const counted = (): number =>
      ["rx_bytes", "tx_bytes"].reduce(
        (sum, name) => sum + Number(readFileSync(`/sys/class/net/${device}/statistics/${name}`, "utf8")),
        0,
      );
    const before = counted();
    const args = ["netns", "exec", namespace, process.execPath, PROGRAM, "pool", "run"];
    const ran = await execute("ip", args, { cwd: folder, env: world.environment }).then(
      ({ stderr }) => ({ code: 0, stderr }),
      (error: { code?: number; stderr: string }) => ({ code: error.code ?? -1, stderr: error.stderr }),
    );
    return { ...ran, networkBytes: counted() - before };
  } finally {
    // The kernel takes a namespace's devices down some time after it: the next one has the same name.
    await tryRun("ip", ["link", "del", device]);
    await run("ip", ["netns", "del", namespace]);
  }
}

describe("outputs are home", () => {
  test("after a job that failed, and the job's exit code is the program's", async () => {
    yaml("mkdir -p results; echo so far > results/partial; exit 5");
    const { code, stderr } = await execute(process.execPath, [PROGRAM, "pool", "run"], {
      cwd: folder,
      env: world.environment,
    }).then(
      () => ({ code: 0, stderr: "" }),
      (error: { code?: number; stderr: string }) => error,
    );
    // The first to fail ends the others, which may not have written anything yet.
    const [, rank] = /the job failed on rank (\d) with code 5/.exec(stderr) ?? [];
    expect(code).toBe(5);
    expect(await home(Number(rank), "partial")).toBe("so far\n");
  });

  test("after Ctrl-C in the middle of the job", async () => {
    yaml("mkdir -p results; echo so far > results/interrupted; exec sleep 600");
    const child = spawn(process.execPath, [PROGRAM, "pool", "run"], {
      cwd: folder,
      env: world.environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    await eventually(
      "every rank has written",
      async () => {
        const looks = world.bed.hosts.map((host) =>
          host.exec("test -s /home/worker/hawser/copies/results/interrupted"),
        );
        return (await Promise.all(looks)).every(({ code }) => code === 0);
      },
      120_000,
    );
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(said).toMatch(/node 1: results to .*: 1 file, /);
    for (const rank of [0, 1, 2]) expect(await home(rank, "interrupted")).toBe("so far\n");
    for (const host of world.bed.hosts)
      expect((await host.exec("ls -A /var/lib/hawser/pools")).stdout).toBe("");
  });

  test("when they were not there at all: that is said, and stops nothing", async () => {
    const request = { ...world.request(yaml("rm -rf results")), baseFolder: folder };
    expect(await runWhole(request, world.options())).toMatchObject({ code: 0 });
    expect(world.notes.filter((text) => /results to .*: there is nothing to copy/.test(text))).toHaveLength(
      3,
    );
  });
});

test("a pool whose time is over while its job runs: outputs are home, and the run ends as its job did", async () => {
  const text = yaml("mkdir -p results; echo so far > results/expired; exec sleep 600");
  const running = runWhole({ ...world.request(text), baseFolder: folder }, world.options());
  const written = async (): Promise<boolean> => {
    const looks = world.bed.hosts.map((host) =>
      host.exec("test -s /home/worker/hawser/copies/results/expired"),
    );
    return (await Promise.all(looks)).every(({ code }) => code === 0);
  };
  await eventually("every rank has written", written, 120_000);
  // While the run has the pool, and to the run's record too.
  const extended = execute(process.execPath, [PROGRAM, "pool", "extend", "copies", "--ttl", "1ms"], {
    cwd: folder,
    env: world.environment,
  });
  expect((await extended).stderr).toMatch(/'copies' ends at/);
  expect(await running).toMatchObject({ code: 143, expired: true });
  const words = world.notes.find((text) => text.includes("its job was stopped there"));
  expect(words).toMatch(
    new RegExp(
      `'copies' reached the end that it was given at 20\\S+, .*is in the bucket: results in s3://${TEST_BUCKET}/home/.*hawser pool extend copies --ttl TIME`,
    ),
  );
  const logs = /The output of each rank is in (\S+)\. /.exec(words!)![1]!;
  expect(readdirSync(logs).sort()).toEqual(["job-rank0.log", "job-rank1.log", "job-rank2.log"]);
  for (const rank of [0, 1, 2]) expect(await home(rank, "expired")).toBe("so far\n");
  for (const host of world.bed.hosts)
    expect((await host.exec("ls -A /var/lib/hawser/pools")).stdout).toBe("");
});

test("an output that the bucket refuses keeps its node, which is named; the next down brings it home", async () => {
  const request = {
    ...world.request(yaml("mkdir -p results; echo $RANK > results/refused")),
    baseFolder: folder,
  };
  const address = world.bed.hosts[1]!.address;
  world.server.s3.faults.add({ key: `home/${address}/refused`, error: "AccessDenied" });
  await expect(runWhole(request, world.options())).rejects.toMatchObject({
    code: "drain_failed",
    message: expect.stringMatching(new RegExp(`worker@${address}: results to s3://.*refused`)),
  });
  expect(world.notes.join("\n")).toMatch(
    new RegExp(`Node 1 \\(worker@${address}\\) is kept: results is not all in the bucket`),
  );
  expect(await home(0, "refused")).toBe("0\n");
  const pool = await Pool.find("copies", "down", world.options());
  expect(pool.nodes.map(({ index }) => index)).toEqual([1]);
  expect(pool.context.record.phase).toBe("kept");
  world.server.s3.faults.clear();
  await pool.down();
  pool.close();
  expect(await home(1, "refused")).toBe("1\n");
});

test("an input that is not there is named, and the job starts nowhere", async () => {
  const text = yaml("touch /tmp/ran-without-input").replace("in/words/", "in/nothing/");
  const request = { ...world.request(text), baseFolder: folder };
  await expect(runWhole(request, world.options())).rejects.toMatchObject({
    code: "inputs_failed",
    message: expect.stringMatching(
      /worker@10\.\d+\.\d+\.10: s3:\/\/.*\/in\/nothing\/ to words: There is nothing at/,
    ),
  });
  for (const host of world.bed.hosts)
    expect((await host.exec("test -e /tmp/ran-without-input")).code).toBe(1);
});

test("credentials are in memory alone: on no disk, in no command line, in no environment", async () => {
  const marker = "/home/worker/hawser/copies/go";
  const request = {
    ...world.request(yaml(`until [ -e ${marker} ]; do sleep 0.1; done`)),
    baseFolder: folder,
  };
  const running = runWhole(request, world.options());
  const [host] = world.bed.hosts;
  const started = (): boolean => world.events.some(({ type }) => type === "started");
  await eventually("the job runs", started, 120_000);
  // As a pattern that does not find itself in a command line.
  const secret = world.environment["AWS_SECRET_ACCESS_KEY"]!.replace(/^./, "[$&]");
  expect(
    (
      await host!.exec(
        `grep -rl --exclude-dir=parts '${secret}' /var/lib /var/cache /home /opt /tmp /root 2>/dev/null`,
      )
    ).stdout,
  ).toBe("");
  expect(
    (await host!.exec(`grep -l '${secret}' /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null`)).stdout,
  ).toBe("");
  const memory = await host!.exec(`grep -rl '${secret}' /run; stat -c '%a %U' /run/hawser-pools/copies`);
  expect(memory.stdout).toMatch(/^\/run\/hawser-pools\/copies\/\.transfer-default\.json\n700 root\n$/);
  await Promise.all(world.bed.hosts.map((each) => each.exec(`touch ${marker}`)));
  expect(await running).toMatchObject({ code: 0 });
});

test.each(["inputs", "outputs"])(
  "a launcher that is killed when the step %s begins: the next 'pool down' brings home what there is",
  async (step) => {
    yaml(`mkdir -p results; echo kept > results/killed-${step}`);
    await new Promise<void>((resolve, reject) => {
      const child = spawn(process.execPath, [PROGRAM, "pool", "run", "--json"], {
        cwd: folder,
        env: world.environment,
        stdio: ["ignore", "pipe", "ignore"],
      });
      let said = "";
      child.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes(`"type":"begin","step":"${step}"`)) child.kill("SIGKILL");
      });
      child.once("close", (code, signal) => {
        if (signal === "SIGKILL") resolve();
        else reject(new Error(`It ended with ${code} before the step '${step}': ${said}`));
      });
    });
    const pool = await Pool.find("copies", "down", world.options());
    await pool.down();
    pool.close();
    const expected = step === "outputs" ? "kept\n" : undefined;
    for (const [rank, host] of world.bed.hosts.entries()) {
      expect(await home(rank, `killed-${step}`)).toBe(expected);
      expect((await host.exec("ls -A /var/lib/hawser/pools; pgrep -f '[w]orker copy'")).stdout).toBe("");
    }
  },
);
