/** Pools from a program. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DEFAULT_CREDENTIALS } from "../../src/devs3/index.ts";
import { Pool, gather } from "../../src/index.ts";
import { eventually } from "../e2e/harness.ts";
import { TEST_BUCKET } from "../support/dev-s3.ts";
import { PoolWorld } from "../support/pool-world.ts";

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}, {}], login: "worker" });
  for (let i = 0; i < 6; i++) await world.put(`data/${i}.txt`, "x".repeat(i));
});
afterAll(() => world?.close());

const COUNT = `import { readdirSync, writeFileSync } from "node:fs";
import { size } from "./size.js";
export async function count(root, out) {
  const rank = Number(process.env.HAWSER_RANK);
  const mine = readdirSync(root).sort().filter((_name, i) => i % Number(process.env.HAWSER_NODES) === rank);
  const bytes = mine.reduce((sum, name) => sum + size(root + "/" + name), 0);
  writeFileSync(out + "/rank-" + rank, String(bytes));
  return { rank, bytes };
}
export function fail() { throw new Error("as told"); }
`;

test("a program makes a pool, calls its functions on the nodes, and the pool ends with its scope", async () => {
  const folder = join(world.bed.folder, "module");
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(
    join(folder, "size.js"),
    "import { statSync } from 'node:fs';\nexport const size = (path) => statSync(path).size;\n",
  );
  writeFileSync(join(folder, "count.js"), COUNT);
  const module = join(folder, "count.js");
  // No credentials in the environment: the function alone has them, and gives ones that are soon to be renewed.
  const environment = { ...world.environment, AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
  let asked = 0;
  const credentials = () => {
    asked++;
    const { accessKeyId, secretAccessKey } = DEFAULT_CREDENTIALS;
    return Promise.resolve({ accessKeyId, secretAccessKey, expiresMs: Date.now() + 5 * 60_000 + 2000 });
  };
  const common = { bucket: TEST_BUCKET, endpoint: world.server.s3.url, credentials };
  {
    await using pool = await Pool.up(
      {
        pool: {
          name: "count",
          hosts: world.bed.names,
          ssh: world.bed.ssh,
          timeouts: { plan: "5m", ssh: "2m", mount: "5m" },
        },
        volumes: [
          { ...common, prefix: "data", mount: "/mnt/data" },
          { ...common, prefix: "out", mount: "/mnt/out", mode: "writable" },
        ],
      },
      { environment },
    );
    const results: unknown[] = [];
    const calls = pool.call(module, "count", ["/mnt/data", "/mnt/out"]);
    for await (const result of gather(calls, { ordered: true })) results.push(result);
    expect(results).toEqual([
      { rank: 0, bytes: 0 + 2 + 4 },
      { rank: 1, bytes: 1 + 3 + 5 },
    ]);
    await expect(pool.call(module, "fail", [], { node: 1 })[0]).rejects.toMatchObject({
      code: "job_failed",
      message: expect.stringMatching(/'fail' failed: as told/),
    });
    expect((await pool.broadcast("echo $HAWSER_RANK")).map(({ stdout }) => stdout)).toEqual(["0\n", "1\n"]);
    const before = asked;
    await eventually("credentials are handed over anew", () => asked > before, 120_000);
    const found = await world.bed.hosts[0]!.exec(
      `grep -rlF ${DEFAULT_CREDENTIALS.secretAccessKey} /var/lib/hawser/pools /var/cache /home; stat -c %a /run/hawser-pools/count/*.json`,
    );
    expect(found.stdout).toBe("600\n600\n");
  }
  expect(await world.get("out/rank-0")).toBe("6");
  expect(await world.get("out/rank-1")).toBe("9");
  const left = await world.bed.hosts[0]!.exec("ls -A /var/lib/hawser/pools /run/hawser-pools");
  expect(left.stdout).not.toContain("count");
});
