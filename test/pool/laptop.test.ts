/**
 * A launcher on macOS, as far as a program can be made to believe that it is there: it has no addon of its own, and its
 * nodes get the prebuilt one of the package.
 */
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runProgram } from "../e2e/harness.ts";
import { TEST_CACHE } from "../support/bundle-image.ts";
import { pretendMacOs, unpackPackage } from "../support/packed-package.ts";
import { PoolWorld } from "../support/pool-world.ts";

const ADDON = fileURLToPath(new URL("../../native/build/Release/hawser.node", import.meta.url));

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}], login: "worker" });
  await world.put("data/a.txt", "alpha");
});
afterAll(() => world?.close());

/** Where npm puts the Node.js of nodes: this machine's own, which is sent nowhere else. */
function haveNodeOfNodes(): void {
  const node = `node-linux-${process.arch}`;
  const bin = join(TEST_CACHE, `hawser/bundles/${node}-24.11.1/node_modules/${node}/bin`);
  mkdirSync(bin, { recursive: true });
  if (!existsSync(join(bin, "node"))) symlinkSync(process.execPath, join(bin, "node"));
}

test("nodes get the prebuilt addon of the package, and their volumes are mounted with it", async () => {
  const { folder } = world.bed;
  const installed = await unpackPackage(folder);
  const prebuilt = join(installed, `native/prebuilds/linux-${process.arch}`);
  mkdirSync(prebuilt, { recursive: true });
  copyFileSync(ADDON, join(prebuilt, "hawser.node"));
  expect(existsSync(join(installed, "native/build"))).toBe(false);
  haveNodeOfNodes();
  const file = join(folder, "hawser.yaml");
  writeFileSync(file, world.yaml('job: "cat /mnt/data/a.txt; echo from a laptop > /mnt/out/laptop"'));
  const program = ["--require", pretendMacOs(folder), join(installed, "bin/hawser.js")];
  const ran = await runProgram(process.execPath, [...program, "pool", "run", "--config", file], {
    env: world.environment,
    timeoutMs: 280_000,
  });
  expect(ran).toMatchObject({ code: 0, stdout: "0| alpha\n" });
  expect(await world.get("out/laptop")).toBe("from a laptop\n");
});
