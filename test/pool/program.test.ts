/** `hawser pool …` as people type it, over real hosts. */
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../e2e/harness.ts";
import { tryRun } from "../support/run.ts";
import type { Ran } from "../support/run.ts";
import { PoolWorld } from "../support/pool-world.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));
const execute = promisify(execFile);

let world: PoolWorld;
let folder: string;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}, {}], login: "worker", bare: true });
  await world.put("data/a.txt", "alpha");
  folder = join(world.bed.folder, "project");
  mkdirSync(folder);
});
afterEach(async () => {
  await hawser(["pool", "down", "train"]);
});
afterAll(() => world?.close());

async function hawser(args: string[], { env = {} }: { env?: Record<string, string> } = {}): Promise<Ran> {
  const options = { cwd: folder, env: { ...world.environment, ...env }, timeout: 120_000 };
  try {
    const { stdout, stderr } = await execute(process.execPath, [PROGRAM, ...args], options);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout: string; stderr: string };
    return { code: code ?? -1, stdout, stderr };
  }
}

function write(task: string, options?: { pool?: string }): void {
  writeFileSync(join(folder, "hawser.yaml"), world.yaml(task, options));
}

describe("pool run", () => {
  test("makes the pool, sends the work folder, sets up, runs, verifies and ends it", async () => {
    writeFileSync(
      join(folder, "train.sh"),
      "cat data.txt; cat /mnt/data/a.txt; cp made-by-setup /mnt/out/rank-$RANK\n",
    );
    writeFileSync(join(folder, "data.txt"), "beside\n");
    writeFileSync(join(folder, ".hawserignore"), "*.secret\n");
    writeFileSync(join(folder, "key.secret"), "no");
    write(
      `workdir: .\nsetup: ["echo $HAWSER_RANK > made-by-setup"]\njob: "ls -A; sh train.sh"\nafter: { success: "echo $HAWSER_EXIT_CODE $HAWSER_NODES > after" }`,
    );
    const { code, stdout, stderr } = await hawser(["pool", "run"]);
    expect(stderr).toMatch(/node 1: mount 2 volumes/);
    expect(code).toBe(0);
    expect(stdout).toContain("0| beside\n");
    expect(stdout).toContain("1| alpha");
    expect(stdout).not.toContain("key.secret");
    expect(await world.get("out/rank-1")).toBe("1\n");
    expect(readFileSync(join(folder, "after"), "utf8")).toBe("0 2\n");
    expect((await hawser(["pool", "ls"])).stdout).toBe("There are no pools.\n");
  });

  test("ends with the exit code of the first failure, ends the others, and brings home what was written", async () => {
    write(`job: "echo kept > /mnt/out/failed-$RANK; if [ $RANK = 1 ]; then exit 7; fi; exec sleep 600"
after: { success: "echo > succeeded", failure: "echo $HAWSER_EXIT_CODE $HAWSER_POOL > failed" }`);
    const { code, stderr } = await hawser(["pool", "run"]);
    expect(stderr).toContain("the job failed on rank 1 with code 7");
    expect(code).toBe(7);
    expect(readFileSync(join(folder, "failed"), "utf8")).toBe("7 train\n");
    expect(existsSync(join(folder, "succeeded"))).toBe(false);
    expect(await world.get("out/failed-0")).toBe("kept\n");
    expect(await world.get("out/failed-1")).toBe("kept\n");
  });

  test("a job that fails is started again as often as allowed", async () => {
    write(`job: "echo try $HAWSER_RESTART; test $HAWSER_RESTART = 2"\nrestarts: 2`);
    const { code, stdout } = await hawser(["pool", "run"]);
    expect(code).toBe(0);
    expect(stdout).toContain("0| try 2");
  });

  test("a detached job goes on, is followed by logs -f and by the next run", async () => {
    write(`job: "echo begun; until [ -e /tmp/go ]; do sleep 0.1; done; echo went"`);
    expect(await hawser(["pool", "run", "--detach"])).toMatchObject({ code: 0 });
    const following = hawser(["pool", "logs", "train", "-f"]);
    await hawser(["pool", "exec", "train", "-n", "0", "--", "touch /tmp/go"]);
    await hawser(["pool", "exec", "train", "-n", "1", "--", "touch /tmp/go"]);
    expect(await following).toMatchObject({ code: 0, stdout: expect.stringMatching(/1\| went/) });
    const ofOne = await hawser(["pool", "logs", "train", "--rank", "1"]);
    expect(ofOne).toMatchObject({ code: 0, stdout: "1| begun\n1| went\n" });
    const { code } = await hawser(["pool", "run"]);
    expect(code).toBe(0);
  });
});

test("a service says when it is ready, is started again when it ends, and is reached through a tunnel", async () => {
  writeFileSync(
    join(folder, "serve.cjs"),
    `require("http").createServer((request, response) => {
  if (request.url === "/end") process.exit(3);
  response.end("model " + require("fs").readFileSync("/mnt/data/a.txt"));
}).listen(8765, "127.0.0.1");\n`,
  );
  write(
    `workdir: .\nservice: { port: 8765, path: /, interval: 100ms }\njob: "/var/lib/hawser/parts/node-*/bin/node serve.cjs"`,
  );
  const up = await hawser(["pool", "run", "--detach"]);
  expect(up).toMatchObject({ code: 0, stderr: expect.stringMatching(/the service is ready on every node/) });
  const tunnel = spawn(process.execPath, [PROGRAM, "pool", "tunnel", "train/1", "8765:0"], {
    cwd: folder,
    env: world.environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    const port = await new Promise<string>((resolve, reject) => {
      let said = "";
      tunnel.once("close", () => reject(new Error(said)));
      tunnel.stderr.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        const match = /127\.0\.0\.1:(\d+) is port 8765/.exec(said);
        if (match) resolve(match[1]!);
      });
    });
    const ask = async (path: string): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } });
      return await answer.text();
    };
    expect(await ask("/")).toBe("model alpha");
    await ask("/end").catch(() => undefined);
    const again = (): Promise<boolean> =>
      ask("/").then(
        (text) => text === "model alpha",
        () => false,
      );
    await eventually("it serves again", again, 120_000);
  } finally {
    tunnel.kill("SIGINT");
  }
});

describe("a pool that is up", () => {
  test("is known to plan, up again, status, exec, ssh, pull, push, extend and ls", async () => {
    writeFileSync(join(folder, "train.sh"), "echo one\n");
    write("workdir: .", { pool: "  ttl: 1h" });
    expect((await hawser(["pool", "plan"])).stdout).toMatch(
      /train: 2 nodes[\s\S]*ok: volume data: can be read/,
    );
    expect((await hawser(["pool", "ls"])).stdout).toBe("There are no pools.\n");
    expect(await hawser(["pool", "up"])).toMatchObject({ code: 0 });
    const again = await hawser(["pool", "up"]);
    expect(again.stderr).toMatch(/node 0: bootstrap was there[\s\S]*node 0: files unchanged/);

    const status = JSON.parse((await hawser(["pool", "status", "--json"])).stdout) as {
      phase: string;
      nodes: { status: { mounts: { state: string }[] } }[];
    };
    expect(status.phase).toBe("ready");
    expect(status.nodes.map(({ status }) => status.mounts.map(({ state }) => state))).toEqual([
      ["serving", "serving"],
      ["serving", "serving"],
    ]);
    expect((await hawser(["pool", "status"])).stdout).toMatch(/train: ready, 5\dm/);

    const ran = await hawser(["pool", "exec", "train", "--", "sh train.sh; test $HAWSER_RANK = 0 || exit 4"]);
    expect(ran).toMatchObject({ code: 4, stdout: expect.stringMatching(/0\| one/) });
    const info = await hawser(["pool", "exec", "train/1", "--", "/usr/local/bin/hawser pool info --json"]);
    expect(JSON.parse(info.stdout)).toMatchObject({
      pool: "train",
      rank: 1,
      nodes: 2,
      head: world.bed.hosts[0]!.address,
    });

    const named = await hawser(["pool", "exec", "train", "--node", world.bed.names[1]!, "--", "hostname"]);
    expect(named).toMatchObject({ code: 0, stdout: "host1\n" });

    writeFileSync(join(folder, "train.sh"), "echo two\n");
    expect((await hawser(["pool", "push"])).stderr).toMatch(/node 1: files 1 files/);
    expect((await hawser(["pool", "exec", "train/0", "--", "sh train.sh"])).stdout).toBe("two\n");
    expect(await hawser(["pool", "pull", "train/1", "train.sh", "fetched"])).toMatchObject({ code: 0 });
    expect(readFileSync(join(folder, "fetched", "train.sh"), "utf8")).toBe("echo two\n");

    const ssh = await hawser(["pool", "ssh", "train/1", "--", "hostname"]);
    expect(ssh).toMatchObject({ code: 0, stdout: "host1\n" });
    const line = await hawser(["pool", "ssh", "train", "--print", "--", "hostname"]);
    expect(await tryRun("sh", ["-c", line.stdout])).toMatchObject({ code: 0, stdout: "host0\n" });
    const config = (await hawser(["pool", "ssh", "train", "--gen-config"])).stdout;
    expect(config).toMatch(
      new RegExp(`Host train-0\n  HostName ${world.bed.hosts[0]!.address}\n  Port 22\n  User worker`),
    );
    writeFileSync(join(folder, "ssh config"), config);
    const login = await tryRun("ssh", ["-F", join(folder, "ssh config"), "train-1", "id -un; hostname"]);
    expect(login).toMatchObject({ code: 0, stdout: "worker\nhost1\n" });
    expect((await hawser(["pool", "extend", "--ttl", "4h"])).stderr).toMatch(/'train' ends at/);
    expect((await hawser(["pool", "ls"])).stdout).toMatch(/train +hosts +ready +2 +3h 5\dm/);
    expect(await hawser(["pool", "pull", "train", "nothing", "fetched"])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/nothing: .*No such file/),
    });
  });

  test("without a terminal nothing asks: --force alone is refused at once", async () => {
    write("");
    await hawser(["pool", "up"]);
    const { code, stderr } = await hawser(["pool", "down", "--force"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/say --yes too/);
    expect(await hawser(["pool", "down", "--force", "--yes"])).toMatchObject({ code: 0 });
  });

  test("flags alone make a pool, and mistakes are named by the flag", async () => {
    const { identityFile, knownHostsFile } = world.bed.ssh;
    writeFileSync(join(folder, "hawser.yaml"), "pool: { name: other, hosts: [nowhere] }\n");
    const flags = [
      "--name",
      "train",
      "--hosts",
      world.bed.names[0]!,
      "--identity",
      identityFile,
      "--known-hosts",
      knownHostsFile,
    ];
    const up = await hawser([
      "pool",
      "run",
      ...flags,
      "--volume",
      "s3://test-bucket/data:/mnt/data",
      "--",
      "cat /mnt/data/a.txt",
    ]);
    expect(up).toMatchObject({ code: 0, stdout: "0| alpha\n" });
    expect(await hawser(["pool", "up", ...flags, "--ttl", "soon"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--ttl: 'soon' is not a duration/),
    });
    expect(await hawser(["pool", "up", "--volume", "my-data:/x"])).toMatchObject({ code: 2 });
  });

  test("a mistake in the file is named with its line", async () => {
    writeFileSync(join(folder, "hawser.yaml"), "pool:\n  name: train\n  hosts: [a]\n  ttl: soon\n");
    const { code, stderr } = await hawser(["pool", "up"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/hawser.yaml:4:8: pool.ttl: 'soon' is not a duration/);
  });
});
