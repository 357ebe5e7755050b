/** Programs that a fresh machine may lack, on the real product: rsync, and numpy's memory maps. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { World } from "../e2e/harness.ts";
import { makeTree, noise, uploadTree } from "../e2e/program-tree.ts";
import { debTool } from "../support/deb-tools.ts";
import { describeChannels } from "../support/channels.ts";
import { testClient } from "../support/dev-s3.ts";
import { pipTools } from "../support/pip-tools.ts";

const run = promisify(execFile);
const rsync = await debTool("rsync", ["rsync", "libpopt0", "libxxhash0"]);

let scratch: string;
let local: string;
let world: World;

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "hawser-programs-"));
  local = path.join(scratch, "local");
  await mkdir(local);
  await makeTree(local);
  await writeFile(path.join(local, "samples.f32"), noise(8 * 1024 * 1024, "samples"));
  world = await World.open();
  const client = testClient(world.s3);
  await uploadTree(client, world.bucket, local, "tree/");
  client.destroy();
});

afterAll(async () => {
  await world?.close();
  await rm(scratch, { recursive: true, force: true });
});

describeChannels("programs", (channel) => {
  let mounted: string;

  beforeAll(async () => {
    // With their metadata, so that times are those of the local files and rsync has nothing to do the second time.
    mounted = await world.mount(["--channel", channel, "--metadata", "full"], {
      prefix: "tree/",
      name: channel,
    });
  });

  test.skipIf("missing" in rsync)(
    `rsync copies the tree, and a second run finds nothing to do${"missing" in rsync ? ` [${rsync.missing}]` : ""}`,
    async () => {
      const { program, env } = rsync as Exclude<typeof rsync, { missing: string }>;
      const copy = path.join(scratch, `rsync-${channel}`);
      const sync = async (...args: string[]): Promise<string> => {
        const { stdout } = await run(program, ["-a", "--itemize-changes", ...args], {
          env: { ...process.env, ...env },
          maxBuffer: 64 * 1024 * 1024,
        });
        return stdout;
      };
      await sync(`${mounted}/`, `${copy}/`);
      await run("diff", ["-r", local, copy]);
      expect(await sync(`${mounted}/`, `${copy}/`)).toBe("");
      // Content by checksums, the mount on either side.
      expect(
        await sync("--checksum", "--no-times", "--no-perms", "--dry-run", `${local}/`, `${mounted}/`),
      ).not.toMatch(/^[<>]f/m);
    },
  );

  test("np.memmap and np.fromfile see the local file's numbers", async () => {
    const tools = await pipTools("numpy");
    const code = `
import sys, json
import numpy as np
results = []
for root in sys.argv[1:]:
    view = np.memmap(root + "/samples.f32", dtype=np.uint32, mode="r", shape=(2048, 1024))
    rows = np.random.default_rng(5).integers(0, 2048, 200)
    results.append([int(view[rows].astype(np.uint64).sum()), int(view[:, 77].astype(np.uint64).sum()),
                    bool((np.fromfile(root + "/samples.f32", dtype=np.uint32) == view.ravel()).all())])
print(json.dumps(results))
`;
    const { stdout } = await run(tools.program("python"), ["-c", code, mounted, local]);
    const [fromMount, fromLocal] = JSON.parse(stdout) as unknown[][];
    expect(fromMount).toEqual(fromLocal);
    expect(fromLocal![2]).toBe(true);
  });
});
