/** Instances that are lost before the job: replaced, and the launch goes on to its end. */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { CloudInstance } from "../../support/cloud.ts";
import { TEST_BUCKET } from "../../support/dev-s3.ts";
import { CloudWorld, hearing } from "../../support/cloud-world.ts";
import type { Running } from "../../support/cloud-world.ts";

const JOB = 'job: "cat .hawser/hostfile > /mnt/out/ran-$RANK"';

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.put("in/words.txt", "alpha beta");
  await world.warmUp();
});

const begins = (running: Running, step: string): Promise<void> =>
  running.said(new RegExp(`"type":"begin","step":"${step}"`));

/** The run ends well, on the machines that were left and one that was made. */
async function expectReplaced(running: Running, lost: CloudInstance): Promise<void> {
  const { code, stdout, stderr } = await running.ended;
  expect({ code, stderr, stdout: stdout.slice(-3000) }).toMatchObject({ code: 0 });
  expect(stdout + stderr).toMatch(new RegExp(`${lost.id} is gone|takes the place of ${lost.id}`));
  for (const rank of [0, 1]) {
    const hosts = await world.get(`out/ran-${rank}`);
    expect(hosts?.trim().split("\n")).toHaveLength(2);
    expect(hosts).not.toContain(`${lost.address} `);
  }
}

test("terminated while the volumes are mounted", async () => {
  const { cloud } = world;
  cloud.store.s3.faults.add({ operation: "PutObject", error: "ServiceUnavailable" });
  world.write(JOB, { data: false });
  const running = world.start(["pool", "run", "--json"]);
  await begins(running, "mount");
  const lost = cloud.instances[1]!;
  await cloud.lose(lost.id);
  cloud.store.s3.faults.clear();
  await expectReplaced(running, lost);
});

test("terminated while files are sent", async () => {
  const { cloud } = world;
  mkdirSync(join(world.project, "big"), { recursive: true });
  // Takes a second to be packed.
  writeFileSync(join(world.project, "big", "data"), randomBytes(48 * 1024 * 1024));
  world.write(`files: [{ from: big, to: /tmp/big }]\n${JOB}`, { data: false });
  const running = world.start(["pool", "run", "--json"]);
  await begins(running, "files");
  running.child.kill("SIGSTOP");
  const lost = cloud.instances[0]!;
  await cloud.lose(lost.id);
  running.child.kill("SIGCONT");
  await expectReplaced(running, lost);
});

test("terminated while inputs are fetched", async () => {
  const { cloud } = world;
  cloud.store.s3.faults.add({ key: "in/words.txt", operation: "GetObject", error: "ServiceUnavailable" });
  const { url } = cloud.store.s3;
  const input = `{ from: s3://${TEST_BUCKET}/in/words.txt, to: words.txt, endpoint: "${url}" }`;
  world.write(`inputs: [${input}]\n${JOB}`, { data: false });
  const running = world.start(["pool", "run", "--json"]);
  await begins(running, "inputs");
  const lost = cloud.instances[1]!;
  await cloud.lose(lost.id);
  cloud.store.s3.faults.clear();
  await expectReplaced(running, lost);
});

/** On the first node it lasts until the bucket says, before it begins, that it need not. */
const setupUntil = (name: string): string =>
  `setup: ["if [ -e /mnt/out/${name} ]; then echo setup again of $RANK; else echo setup of $RANK; [ $RANK = 1 ] || exec sleep 600; fi"]`;

test("terminated during setup, which the others have done and do not repeat", async () => {
  const { cloud } = world;
  world.write(`${setupUntil("second")}\n${JOB}`, { data: false });
  const running = world.start(["pool", "run", "--json"]);
  await running.said(/setup of 0/);
  await world.put("out/second", "");
  const lost = cloud.instances.find(({ values }) => values["meta-data/tags/instance/hawser:node"] === "0")!;
  await cloud.lose(lost.id);
  await expectReplaced(running, lost);
  expect(running.output().match(/setup of 0/g)).toHaveLength(1);
  expect(running.output().match(/setup of 1/g)).toHaveLength(1);
  expect(running.output().match(/setup again of \d/g)).toEqual(["setup again of 0"]);
});

test("taken away by EC2 during setup", async () => {
  const { cloud } = world;
  world.write(`${setupUntil("third")}\n${JOB}`, { data: false });
  const running = world.start(["pool", "run", "--json"]);
  await running.said(/setup of 0/);
  await world.put("out/third", "");
  const lost = cloud.instances.find(({ values }) => values["meta-data/tags/instance/hawser:node"] === "0")!;
  const notice = JSON.stringify({ action: "terminate", time: "2026-01-02T03:04:05Z" });
  await cloud.tell(lost, "meta-data/spot/instance-action", notice);
  await expectReplaced(running, lost);
});

const LIBRARY = fileURLToPath(new URL("../../../dist/index.js", import.meta.url));

/** A program that makes a pool, says so, and starts the job once it has been told to. */
const PROGRAM = `import { once } from "node:events";
import { Pool } from ${JSON.stringify(LIBRARY)};
const [name, bucket, endpoint] = process.argv.slice(2);
const onEvent = (event) => { if (event.type === "note") console.log(event.text); };
const pool = await Pool.up({
  pool: { name, nodes: 2, instanceTypes: ["m5.large"], ami: "amazon-linux", address: "private", ttl: "1h" },
  volumes: [{ bucket, prefix: "out/", mount: "/mnt/out", mode: "writable", endpoint }],
  job: "cat .hawser/hostfile > /mnt/out/ran-$RANK",
}, { onEvent });
console.log("prepared");
await once(process.stdin, "data");
const result = await pool.run();
console.log("ended with", result.code);
await pool[Symbol.asyncDispose]();
process.stdin.destroy();
`;

test("terminated while the job is started: it starts on all, with the one that takes its place", async () => {
  const { cloud, project: cwd } = world;
  const path = join(cwd, "program.mjs");
  writeFileSync(path, PROGRAM);
  const child = cloud.spawn(process.execPath, [path, "train", TEST_BUCKET, cloud.store.s3.url], {
    cwd,
    env: cloud.environment,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const running = hearing(child);
  await running.said(/prepared/);
  const lost = cloud.instances[1]!;
  await cloud.lose(lost.id);
  child.stdin!.write("go\n");
  await expectReplaced(running, lost);
  expect(running.output()).toMatch(/ended with 0/);
});
